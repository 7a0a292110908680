"""One browser and one daemon for each file, which its tests leave as they found it, and visits without any mistake.

No longer: anyio keeps one event loop while an asynchronous fixture lives, and many tests have a loop of their own.
"""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from support.chromium import Watched, running_chromium, watched_page
from support.watched_world import WatchedWorld, watched_world


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> AsyncIterator[WatchedWorld]:  # noqa: ARG001 - without a browser there is nothing to start
    async with watched_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
async def visit(chromium: Browser, world: WatchedWorld) -> AsyncIterator[Watched]:
    """A page of the browser. In the end nothing has gone wrong, and it has asked no one but the daemon."""
    async with watched_page(chromium, world.address) as watched:
        yield watched
        watched.check()


@pytest.fixture
async def visit_without_script(chromium: Browser, world: WatchedWorld) -> AsyncIterator[Watched]:
    """A visit with JavaScript disabled."""
    async with watched_page(chromium, world.address, java_script_enabled=False) as watched:
        yield watched
        watched.check()
