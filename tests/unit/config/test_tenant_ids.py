import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from adsyncd.config import Settings
from adsyncd.config.names import DEFAULT_TENANTS_DIR
from adsyncd.config.tenant_ids import tenant_ids

IGNORED = ("README", "acme.conf", "Acme.toml", ".hidden.toml", "$(reboot).toml", "a b.toml", "-c.toml", "x\n.toml")
OF_NOTHING = {"ADSYNCD_CONFIG": "/nowhere/adsyncd.toml"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with two folders of drop-ins, of which one has only names that are no drop-ins'."""
    (tmp_path / "first" / "acme.toml.d").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    for name in ("first/globex.toml", "first/acme.toml", "second/initech.toml", "second/acme.toml"):
        (tmp_path / name).write_text("not even TOML")
    for name in IGNORED:
        (tmp_path / "second" / name).write_text("")
    path = tmp_path / "adsyncd.toml"
    path.write_text(f'tenants_dirs = ["{tmp_path}/first", "{tmp_path}/absent", "{tmp_path}/second"]\nwatch = 3\n')
    return path


def test_the_ids_are_the_names_of_the_drop_ins_in_all_folders_whatever_is_in_them(config: Path) -> None:
    expected = ["acme", "globex", "initech"]
    assert tenant_ids(["--config", str(config)], {}) == expected
    assert tenant_ids(["--config", str(config)], OF_NOTHING) == expected
    assert tenant_ids([], {"ADSYNCD_CONFIG": str(config)}) == expected


def test_a_variable_names_the_folders_instead_of_the_settings(config: Path) -> None:
    variables = {**OF_NOTHING, "ADSYNCD_TENANTS_DIRS": f'["{config.parent}/second"]'}
    assert tenant_ids([], variables) == ["acme", "initech"]
    assert tenant_ids(["--config", str(config)], variables) == ["acme", "initech"]


def test_settings_without_folders_have_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.toml").write_text("")
    monkeypatch.setattr(os, "listdir", {str(DEFAULT_TENANTS_DIR): ["acme.toml"]}.__getitem__)
    assert tenant_ids(["--config", str(tmp_path / "empty.toml")], {}) == ["acme"]
    assert Settings().tenants_dirs == (DEFAULT_TENANTS_DIR,)


@pytest.mark.parametrize(
    "text",
    [
        "tenants_dirs = [",
        "tenants_dirs = 3",
        "tenants_dirs = [3, []]",
        "tenants_dirs = ['.']",
        'tenants_dirs = ["/\\u0000"]',
        f"a = {'[' * 9999}",
    ],
)
def test_settings_that_hide_the_folders_complete_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "adsyncd.toml"
    path.write_text(text)
    assert tenant_ids(["--config", str(path)], {}) == []


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ([], OF_NOTHING),
        (["--config", ""], {}),
        (["--config", "/dev/zero"], {}),
        ([], {"ADSYNCD_TENANTS_DIRS": "/etc/adsyncd/tenants.d"}),
        ([], {"ADSYNCD_TENANTS_DIRS": "3"}),
        ([], {"ADSYNCD_TENANTS_DIRS": "[" * 9999}),
    ],
)
def test_what_cannot_be_read_completes_nothing(arguments: list[str], environ: Mapping[str, str]) -> None:
    assert tenant_ids(arguments, environ) == []
