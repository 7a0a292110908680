"""The pictures in README.md and docs/page.md show the pages of today. If a test here fails: `make picture`.

A picture itself is not compared: another version of the browser or of a font draws other pixels. What it was made from
is: the text of the page, and a hash of its HTML and of its style sheets, which are the same on every machine.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.async_api import Browser, Route

from support.chromium import watched_page
from support.page import ROOT
from support.pictured import pictured

FOLDER = ROOT / "docs" / "page"
MADE_FROM = FOLDER / "pictures.json"
WIDTH, HEIGHT = 1200, 800
MOST_BYTES = 60_000
COLOURS = 256
DRAW = "ADSYNCD_PICTURES" in os.environ  # set by `make picture`
SHOWN = ("tenants", "tenant", "run", "quotas", "failures")
ORIGIN = "http://localhost"


@dataclass(frozen=True, slots=True)
class Files:
    """What a browser gets: type and content by path; `pages`: the paths of the pages, by name."""

    content: Mapping[str, tuple[str, bytes]]
    pages: Mapping[str, str]

    def text(self, name: str) -> list[str]:
        """Return the text of a page, in lines."""
        html = self.content[self.pages[name]][1].decode()
        body = re.sub(r"<(title|style|script)\b.*?</\1>", "", html.partition("<body")[2], flags=re.DOTALL)
        text = re.sub(r"<(?!/?(b|i|a|code|span|small)\b)[^>]*>", "\n", "<body" + body)
        lines = [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in text.splitlines()]
        return [line for line in lines if line]

    def digest(self, name: str) -> str:
        """Return a hash of a page and of all that is no page."""
        whole = hashlib.sha256(self.content[self.pages[name]][1])
        for path in sorted(self.content.keys() - {*self.pages.values()}):
            whole.update(self.content[path][1])
        return whole.hexdigest()


async def look(client: httpx.AsyncClient) -> Files:
    """Get the pages and all that they load."""
    runs = (await client.get("/v1/tenants/umbrella/runs")).json()
    pages = {
        "tenants": "/",
        "tenant": "/tenants/acme",
        "run": f"/tenants/umbrella/runs/{runs[-1]['run_id']}",
        "quotas": "/quotas",
        "failures": "/failures",
    }
    content: dict[str, tuple[str, bytes]] = {}
    wanted = [*pages.values()]
    while wanted:
        path = wanted.pop()
        answer = (await client.get(path)).raise_for_status()
        content[path] = answer.headers["content-type"], answer.content
        if path in pages.values():
            loaded = re.findall(r'<(?:link|script)\b[^>]*?(?:href|src)="(/[^"]*)"', answer.text)
            wanted += [path for path in loaded if path not in content and path not in wanted]
    return Files(content, pages)


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with pytest.MonkeyPatch.context() as patch:
        yield pictured(look, patch)


def made_from(files: Files, name: str) -> dict[str, object]:
    return {"page": files.digest(name), "text": files.text(name)}


@pytest.mark.skipif(not DRAW, reason="they are drawn by make picture alone")
async def test_pictures_are_drawn(chromium: Browser, files: Files) -> None:
    size = {"width": WIDTH, "height": HEIGHT}
    async with watched_page(chromium, ORIGIN, viewport=size, color_scheme="light", java_script_enabled=False) as visit:

        async def answer(route: Route) -> None:
            kind, content = files.content[route.request.url.removeprefix(ORIGIN)]
            await route.fulfill(body=content, content_type=kind)

        await visit.page.route("**/*", answer)
        for name, path in files.pages.items():
            await visit.page.goto(path)
            (FOLDER / f"{name}.png").write_bytes(small(await visit.page.screenshot()))
        visit.check()
    document = {name: made_from(files, name) for name in SHOWN}
    MADE_FROM.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def small(png: bytes) -> bytes:
    """Return a picture in few colours, and without anything but the picture."""
    few = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        few, "PNG", optimize=True
    )
    return few.getvalue()


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_was_made_from_the_page_of_today(files: Files, name: str) -> None:
    known = json.loads(MADE_FROM.read_text(encoding="utf-8"))[name]
    assert known["text"] == files.text(name), "the page says something else: make picture"
    assert known["page"] == files.digest(name), "the page looks different: make picture"


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_small_and_holds_nothing_but_itself(name: str) -> None:
    place = FOLDER / f"{name}.png"
    assert place.stat().st_size < MOST_BYTES
    with Image.open(place) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert picture.info.keys() <= {"transparency"}


def test_each_picture_is_shown() -> None:
    shown = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
    assert [name for name in SHOWN if f"](page/{name}.png)" not in shown] == []
    assert "](docs/page/tenants.png)" in (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert {path.stem for path in FOLDER.glob("*.png")} == {*SHOWN}


def test_pictures_say_nothing_of_the_machine(files: Files) -> None:
    host = Path("/etc/hostname").read_text(encoding="utf-8").strip()
    assert not [name for name in SHOWN if host in " ".join(files.text(name)).split()]
