"""The example of `adsyncd config` in docs/operate.md is what it says of the files on that page."""

import re
from pathlib import Path

from adsyncd.cli.config_view import lines
from adsyncd.config.dropins import read_files, read_tenants
from adsyncd.config.in_force import DEFAULT, tenant_values
from adsyncd.config.settings import load_guarded
from support import page

PAGE = page.read("operate.md")
SECTION = page.section(PAGE, "Which value is in force?")
INSTALLED = "/etc/adsyncd"


def write(folder: Path, blocks: list[str]) -> None:
    """Write each file that a comment in its first line names."""
    for block in blocks:
        path = folder / block.splitlines()[0].removeprefix(f"# {INSTALLED}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.replace(INSTALLED, str(folder)))


def test_the_example_is_what_the_command_says_of_the_documented_files(tmp_path: Path) -> None:
    [settings] = page.blocks(page.section(PAGE, "2. Settings"), "toml")
    write(tmp_path, [settings, *page.blocks(page.section(PAGE, "3. The drop-in"), "toml")])
    write(tmp_path, page.blocks(SECTION, "toml"))
    [(variable, text, shown)] = re.findall(
        r"^\$ (\w+)=(\w+) adsyncd config acme --changed\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE
    )
    installed = tmp_path / "adsyncd.toml"
    dirs = {"ADSYNCD_TENANTS_DIRS": f'["{tmp_path}/tenants.d"]'}
    loaded = load_guarded(installed, {variable: text, **dirs})
    tenant = read_tenants(loaded.settings).good["acme"]
    values = tenant_values(loaded, read_files(loaded.settings, "acme"), tenant)
    found = lines([value for value in values if value.origin != DEFAULT], None)
    assert "\n".join(found).replace(str(tmp_path), INSTALLED) == shown.rstrip("\n")
