"""The picture in README.md shows what `adsyncd demo` prints today. If a test here fails: `make picture`."""

import io
import re
from collections import defaultdict
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from adsyncd.demo.evidence import TenantEvidence
from adsyncd.demo.folder import Folder
from adsyncd.demo.platform import LedgerPage
from adsyncd.demo.report import print_evidence, print_parts, print_places, print_trace
from adsyncd.demo.scene import Scene
from adsyncd.telemetry import instruments
from support.page import ROOT
from support.records import run

FILE = "docs/demo.svg"
SVG = (ROOT / FILE).read_text(encoding="utf-8")
SCENE = Scene()
COLUMN = 12.2  # the width of a character


def shown() -> list[str]:
    """Return the lines of the picture."""
    lines: dict[float, str] = defaultdict(str)
    for text in ET.fromstring(SVG).iter("{http://www.w3.org/2000/svg}text"):
        if "title" not in text.get("class", ""):
            y, column = float(text.get("y", "0")), round(float(text.get("x", "0")) / COLUMN)
            lines[y] = lines[y].ljust(column) + "".join(text.itertext()).replace("\xa0", " ")
    return [line.rstrip() for _, line in sorted(lines.items()) if line.strip()]


LINES = shown()
FOLDER, *_ = re.findall(r"/tmp/adsyncd-demo-\w+", SVG)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=110, highlight=False)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: FOLDER)
    return Folder()


def printed(console: Console) -> list[str]:
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]  # it is a StringIO


def test_the_readme_shows_it_before_its_first_section() -> None:
    assert f"]({FILE})" in (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]


def test_it_is_small_and_takes_nothing_from_the_network_or_from_the_machine() -> None:
    assert len(SVG.encode()) < 80_000
    assert not re.search(r"@font-face|url\((?!#)|href|/home/", SVG)


def test_its_parts_are_those_of_the_demo(console: Console, folder: Folder) -> None:
    vault, platform, _, collector, page = re.findall(r"http://127\.0\.0\.1:\d+/?", SVG)
    platform = platform.removesuffix("/")
    print_parts(console, SCENE, folder, vault=vault, platform=platform, collector=collector, page=page)
    assert LINES[1 : 1 + len(printed(console))] == printed(console)


def test_its_trace_begins_as_the_demo_s_and_has_spans_that_there_are(console: Console) -> None:
    print_trace(console, run(), ())
    [intro, _] = printed(console)
    trace = LINES[LINES.index(intro) + 1 :]
    spans = {name for line in trace for name in re.findall(r"── ([a-z]+\.[a-z.]+) ", line)}
    assert {instruments.SPAN_RUN, instruments.SPAN_LIST, instruments.SPAN_PUSH, instruments.SPAN_RETRY_WAIT} <= spans
    assert spans <= {value for name, value in vars(instruments).items() if name.startswith("SPAN_")}


def test_its_table_has_the_demo_s_columns_and_every_campaign_of_each_tenant(console: Console) -> None:
    print_evidence(
        console, SCENE, [TenantEvidence(run(), 0, LedgerPage(accepted=0, refused=0, pushes={}), traced=True)]
    )
    columns = printed(console)[0].split()
    [head] = [number for number, line in enumerate(LINES) if line.split() == columns]
    rows = [line.split() for line in LINES[head + 1 : head + 1 + len(SCENE.everybody)]]
    assert [row[:2] for row in rows] == [[tenant, f"{SCENE.campaigns}/{SCENE.campaigns}"] for tenant in SCENE.everybody]
    assert [row[columns.index("429s")] for row in rows] == ["0"] * len(rows)


def test_it_ends_with_what_the_demo_says_last(console: Console, folder: Folder) -> None:
    print_places(console, folder, "adsyncd")
    assert LINES[-len(printed(console)) :] == printed(console)
