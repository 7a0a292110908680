import json
import re

from adsyncd.config import Settings
from adsyncd.config.page_table import PageTable
from benchmarks import pages
from support import page
from support.page import ROOT

PAGE = page.read("page.md")
FLAT = " ".join(PAGE.split())


def slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {re.sub(r"[^\w -]", "", part["heading"].lower()).replace(" ", "-") for part in page.headings(text)}


def test_every_setting_of_the_page_is_explained() -> None:
    assert page.names(page.section(PAGE, "Settings"), "key") == [f"page.{name}" for name in PageTable.model_fields]
    configuration = page.read("configuration.md")
    assert [name for name in PageTable.model_fields if f"`page.{name}`" not in configuration] == []


def test_the_socket_is_the_one_that_there_is() -> None:
    assert f":{Settings().control.socket} " in PAGE


def test_each_link_leads_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE):
        linked = (ROOT / "docs" / target).resolve()
        assert linked.exists(), target
        assert not anchor or anchor in slugs(linked.read_text(encoding="utf-8")), (target, anchor)


def test_readers_of_the_readme_of_operate_and_of_alerts_find_it() -> None:
    assert "(docs/page.md)" in (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    for name in ("operate.md", "alerts.md"):
        assert "(page.md" in page.read(name), name


def test_what_it_costs_is_what_the_benchmark_asks() -> None:
    asked = f"With {pages.TENANTS:,} tenants, `/` takes less than {pages.MOST_MS} ms and {pages.MOST_KB} KB"
    assert f"{asked}, and five open pages cost the runs at most {pages.MOST_PERCENT} %" in FLAT
    assert len(pages.OPEN) == 5
    recorded = json.loads((ROOT / "benchmarks" / "results" / "pages.json").read_text())
    bounded = [figure for figure in recorded if figure["at_most"] is not None]
    assert [figure["at_most"] for figure in bounded] == [pages.MOST_MS, pages.MOST_KB, pages.MOST_PERCENT]
    assert all(figure["value"] <= figure["at_most"] for figure in bounded)
