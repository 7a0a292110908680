"""Headless Chromium, driven by Playwright: pages that record what went wrong in them, and axe."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

NO_BROWSER = "no Chromium here: apt-get install chromium"
NO_AXE = "no axe-core here: apt-get install npm, then npm ci --prefix tests/browser"
AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TOLD = """
document.addEventListener("securitypolicyviolation", event =>
  console.error(`blocked by ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`))
"""


@dataclass(slots=True)
class Watched:
    """A page of a browser. `wrong`: errors, dialogs and blocked content; `requested`: the address of each request."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    navigations: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Check that nothing has gone wrong, and that nothing was asked of any other origin than its own."""
        assert not self.wrong
        assert not [url for url in self.requested if not url.startswith(f"{self.origin}/")]

    async def axe(self) -> list[str]:
        """Return what axe finds wrong in the page, in lines."""
        if await self.page.evaluate("typeof axe") == "undefined":
            await self.page.evaluate(_script(AXE, NO_AXE))
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {node['target']} {node['html'][:160]}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    async def text(self) -> str:
        """Return the text of the page's content."""
        return await self.page.inner_text("main")


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """Start the browser with a new profile. Where there is none, that fails under CI and skips elsewhere."""
    program = shutil.which("chromium")
    if program is None:
        _lacking(NO_BROWSER)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def watched_page(browser: Browser, base_url: str, **options: Any) -> AsyncIterator[Watched]:  # noqa: ANN401 - of a context
    """Open a page in a context of its own, without animations: one that never ends takes a core without a GPU.

    `options`: see `Browser.new_context`.
    """
    context = await browser.new_context(base_url=base_url, reduced_motion="reduce", **options)
    try:
        yield await _watched(context, base_url)
    finally:
        await context.close()


async def _watched(context: BrowserContext, origin: str) -> Watched:
    context.set_default_timeout(20_000)
    await context.add_init_script(_TOLD)
    page = await context.new_page()
    watched = Watched(page, origin)
    page.on("console", lambda message: watched.wrong.extend(_errors(message)))
    page.on("pageerror", lambda error: watched.wrong.append(f"error: {error}"))
    page.on("request", lambda request: watched.requested.append(request.url))
    page.on("framenavigated", lambda frame: watched.navigations.append(frame.url))

    async def dismiss(dialog: Any) -> None:  # noqa: ANN401 - Playwright's own
        watched.wrong.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    page.on("dialog", dismiss)
    return watched


def _errors(message: ConsoleMessage) -> list[str]:
    if message.location["url"].endswith("/favicon.ico"):  # the browser asks for it, and no page does
        return []
    return [f"{message.type}: {message.text}"] if message.type in {"error", "warning"} else []


def _script(place: Path, missing: str) -> str:
    if not place.exists():
        _lacking(missing)
    return place.read_text(encoding="utf-8")


def _lacking(what: str) -> None:
    fail: Callable[[str], None] = pytest.fail if os.environ.get("CI") else pytest.skip
    fail(what)
