import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from adsyncd.config import Settings
from adsyncd.config.completed_names import platform_names, stored_ids, tenant_ids
from adsyncd.config.names import DEFAULT_TENANTS_DIR

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


def test_the_ids_are_the_names_of_the_drop_ins_in_all_folders_also_of_invalid_ones(config: Path) -> None:
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


@pytest.fixture
def recorded(config: Path) -> Path:
    """A database with tenants of which one has a drop-in and one has only runs."""
    file = config.with_name("a %41#.db")
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("""
            CREATE TABLE campaigns (tenant); INSERT INTO campaigns VALUES ('gone'), ('acme'), ('gone'), ('$(reboot)');
            CREATE TABLE runs (tenant); INSERT INTO runs VALUES ('only-ran'), ('acme');
        """)
    return file


def test_tenants_on_record_are_those_of_the_database_with_or_without_a_drop_in(config: Path, recorded: Path) -> None:
    expected = ["acme", "gone", "only-ran"]
    settings = config.read_text()
    config.write_text(f'{settings}\n[store]\nurl = "sqlite:///{recorded}"\n')
    assert stored_ids(["--config", str(config)], {}) == expected
    with closing(sqlite3.connect(recorded)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.executescript("INSERT INTO runs VALUES ('new')")
        assert stored_ids(["--config", str(config)], {}) == ["acme", "gone", "new", "only-ran"]
    config.write_text(settings)
    variables = {"ADSYNCD_CONFIG": str(config), "ADSYNCD_STORE__URL": f"sqlite:///{recorded}"}
    assert "only-ran" in stored_ids([], variables)
    assert sorted(file.name for file in config.parent.glob("a *")) == [recorded.name]


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("postgresql+psycopg://nowhere/adsyncd", {}),
        ("sqlite:////nowhere/adsyncd.db", {}),
        ("sqlite:////dev/null", {}),
        ("sqlite:///{config}", {}),
        ("sqlite:///{recorded}", {"ADSYNCD_STORE": "{}"}),
    ],
)
def test_without_a_database_that_can_be_read_those_with_a_drop_in_stand_for_them(
    config: Path, recorded: Path, url: str, more: dict[str, str]
) -> None:
    variables = {"ADSYNCD_STORE__URL": url.format(config=config, recorded=recorded)} | more
    assert stored_ids(["--config", str(config)], variables) == ["acme", "globex", "initech"]
    assert stored_ids(["--config", "/nowhere"], variables) == []


def test_platforms_are_those_of_the_settings_and_of_variables(config: Path) -> None:
    of_it = ["--config", str(config)]
    assert platform_names(of_it, {}) == []
    config.write_text('platforms.mixo.base_url = 3\n[platforms.auth-api]\n[platforms."a b"]\n')
    assert platform_names(of_it, {}) == ["auth-api", "mixo"]
    variables = {"ADSYNCD_PLATFORMS__AUTH_API__BASE_URL": "x", "ADSYNCD_PLATFORMS__OTHER__QUOTA__PER": "1s"}
    assert platform_names(of_it, variables) == ["auth-api", "mixo", "other"]
    config.write_text("platforms = 3\n")
    assert platform_names(of_it, OF_NOTHING) == platform_names([], OF_NOTHING) == []
