import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from adsyncd.cli import application
from adsyncd.config import Settings, TenantFile
from adsyncd.config.diagnostics import ANY_ITEM, ANY_NAME, known_keys
from adsyncd.config.profile_tables import ProfileFile

ROOT = Path(__file__).parents[2]
MISSING = "no groff here: apt-get install groff-base"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("man", ROOT / "docs" / "man.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, str] = module.pages()
    return found


def words(page: str) -> str:
    """Return a page's text without its markup."""
    return re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-")


def test_the_makefile_installs_each_page(pages: dict[str, str]) -> None:
    [installed] = re.findall(r"^MAN := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert installed.split() == list(pages)


def test_the_commands_page_has_each_command_with_its_options(pages: dict[str, str]) -> None:
    page = words(pages["adsyncd.1"])

    def check(group: TyperGroup, path: str) -> None:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                check(command, f"{path} {name}")
                continue
            assert isinstance(command, TyperCommand)
            section = re.split(r"^\.S[SH] ", page.partition(f"\n.SS {path} {name}")[2], flags=re.MULTILINE)[0]
            assert section, f"{path} {name}"
            for parameter in command.params:
                assert parameter.opts[0] in section or (parameter.name or "").upper() in section

    root = get_command(application())
    assert isinstance(root, TyperGroup)
    check(root, "adsyncd")


@pytest.mark.parametrize(("name", "model"), [("adsyncd.toml.5", Settings), ("adsyncd-tenant.5", TenantFile)])
def test_the_files_pages_have_each_key(
    pages: dict[str, str], name: str, model: type[Settings] | type[TenantFile]
) -> None:
    page = words(pages[name])
    for key in known_keys(model):
        if key[0] != "defaults" or len(key) == 1:
            assert ".".join(key).replace(ANY_NAME, "<name>").replace(ANY_ITEM, "<n>") in page


def test_the_page_of_profiles_has_each_key(pages: dict[str, str]) -> None:
    page = words(pages["adsyncd-profile.5"])
    for key in known_keys(ProfileFile):
        is_of_column = key[0] == "fields" and len(key) > 2
        if not is_of_column:
            assert ".".join(key).replace(ANY_NAME, "<name>").replace(ANY_ITEM, "<n>") in page


@pytest.mark.parametrize("name", ["adsyncd.1", "adsyncd.toml.5", "adsyncd-tenant.5", "adsyncd-profile.5"])
def test_groff_has_nothing_to_say_about_a_page(pages: dict[str, str], name: str) -> None:
    if not shutil.which("groff"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    command = ["groff", "-man", "-ww", "-Tutf8", "-K", "utf8"]
    done = subprocess.run(command, input=pages[name].encode(), capture_output=True, check=True)
    assert done.stderr == b""
    assert "**" not in done.stdout.decode()
    assert "](" not in done.stdout.decode()
