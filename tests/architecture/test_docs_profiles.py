import re
import tomllib
from pathlib import Path

import pytest

from adsyncd.cli.probe import ExitCode
from adsyncd.config.diagnostics import ANY_ITEM, ANY_NAME, known_keys
from adsyncd.config.profile_file import BUILT_IN, SHIPPED, load_profile, shipped_profile
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.model.profile import Means, PagingKind
from support import page
from support.page import ROOT

PAGE = page.read("profiles.md")
FLAT = " ".join(PAGE.split())
FILES = sorted(SHIPPED.glob("*.toml"))
KEYS = {cells[0].strip("`"): cells[1] for cells in page.rows(page.section(PAGE, "Keys"), "key")}
SHIPS = {cells[0].strip("`"): cells[1:] for cells in page.rows(page.section(PAGE, "What ships"), "profile")}


def head(file: Path) -> str:
    """Return the comment at the head of a file, as flowing text."""
    lines = file.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    return " ".join(" ".join(line.removeprefix("#") for line in lines if line.startswith("#")).split())


def documented() -> list[str]:
    """Return the keys of a profile as the page names them: the three of each column once."""
    keys = list(known_keys(ProfileFile))
    found = list[str]()
    for key in keys:
        is_column = key[0] == "fields" and len(key) == 2
        if key[0] == "fields" and len(key) == 3:
            key = ("fields", "<column>", key[2])  # noqa: PLW2901 - what stands for it on the page
        elif not is_column and any(other[: len(key)] == key for other in keys if other != key):
            continue
        found.append(".".join(key).replace(ANY_NAME, "<name>").replace(ANY_ITEM, "<n>"))
    columns = [name for name in dict.fromkeys(found) if name.startswith("fields.") and "<" not in name]
    general = [name for name in dict.fromkeys(found) if "<column>" in name]
    rest = [name for name in dict.fromkeys(found) if not name.startswith("fields.")]
    columns.remove("fields.volatile")
    at = rest.index("expect.path")
    return [*rest[:at], *columns, *general, "fields.volatile", *rest[at:]]


def test_the_table_has_each_key_once_in_the_order_of_the_tables() -> None:
    assert list(KEYS) == documented()


def test_the_defaults_are_those_of_the_tables() -> None:
    known = known_keys(ProfileFile)
    for name, default in KEYS.items():
        key = tuple(name.replace("<column>", "id").replace("<name>", ANY_NAME).replace("<n>", ANY_ITEM).split("."))
        field = known[key]
        assert (default == "required") == field.is_required(), name
        if default == "none":
            assert field.default is None, name
        elif default != "required":
            stated = tomllib.loads(f"x = {default.strip('`')}")["x"]
            real = field.get_default(call_default_factory=True)
            assert stated == (list(real) if isinstance(real, tuple) else real), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_head_of_a_profile_says_what_it_needs_and_what_it_was_checked_against(file: Path) -> None:
    text, profile = head(file), load_profile(file)
    assert "client_id " in text
    assert "credentials " in text
    for name in (*profile.secrets, *profile.vars):
        assert re.search(rf"\b{name}\b", text), name
    checked = "Checked against recorded answers of 2026-11-29" in text
    written = "Written from the vendor's documentation" in text and "ecorded answers are missing" in text
    assert [checked, written, "Checked against mock_api/" in text].count(True) == 1
    assert "support" not in text.lower()
    assert "://" not in text


def test_the_table_names_each_profile_that_ships_with_what_it_was_checked_against() -> None:
    assert SHIPS.keys() == {file.stem for file in FILES}
    for file in FILES:
        _, checked = SHIPS[file.stem]
        assert ("recorded answers of 2026-11-29" in checked) == ("recorded answers of 2026-11-29" in head(file))
        assert ("all recorded answers are missing" in checked) == ("Written from" in head(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_version_in_the_table_is_the_one_of_the_requests(file: Path) -> None:
    if file.stem != BUILT_IN:
        version = re.findall(r"v?\d[\d.]*$", SHIPS[file.stem][0])[0]
        profile = load_profile(file)
        places = [profile.listing.path, *(value for _, value in profile.headers)]
        assert any(re.search(rf"(^|/){re.escape(version)}(/|$)", place) for place in places)
        assert version in head(file).partition("Campaigns are pulled")[0]


def test_only_the_built_in_profile_pushes() -> None:
    assert [file.stem for file in FILES if shipped_profile(file.stem).push is not None] == [BUILT_IN]


def test_the_exit_codes_of_a_probe_are_those_of_the_command() -> None:
    rows = page.rows(page.section(PAGE, "4. Probe"), "exit code")
    assert [int(code) for code, _ in rows] == [0, 1, *ExitCode]


def test_nothing_is_called_supported() -> None:
    assert "support" not in PAGE.lower()


def test_each_kind_of_paging_and_each_meaning_is_explained() -> None:
    assert page.names(page.section(PAGE, "Answers"), "`means`") == [f'"{means}"' for means in Means]
    kinds = [cells[1] for cells in page.rows(page.section(PAGE, "Paging"), "in the documentation or the answer")]
    assert kinds == [f'`"{kind}"`' for kind in PagingKind]


def test_the_page_is_found_from_others_and_its_links_lead_somewhere() -> None:
    for other in ("README.md", "ARCHITECTURE.md", "docs/configuration.md"):
        assert "profiles.md" in (ROOT / other).read_text(encoding="utf-8"), other
    anchors = {part["heading"].lower().replace(" ", "-") for part in page.headings(PAGE)}
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE):
        assert not target or (ROOT / "docs" / target).exists(), target
        assert not anchor or target or anchor in anchors, anchor


def test_the_examples_of_keys_are_valid() -> None:
    [limits] = page.blocks(page.section(PAGE, "Limits"), "toml")
    least = {"sign_in": {"static": "token"}, "list": {"path": "/c", "records": "data"}, "fields": {"id": "id"}}
    assert ProfileFile.model_validate({**least, **tomllib.loads(limits)}).limits.counters
