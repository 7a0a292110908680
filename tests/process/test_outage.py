"""The night of docs/operate.md: a platform is down; its tenants are paused and resumed, dead letters replayed."""

import re
import shlex
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from support import page
from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, ONCE, Program
from support.prometheus import free_port

PAGE = page.read("operate.md")
SHOPS = [f"shop-{number:02}" for number in range(1, 41)]
OTHERS = ["acme", "globex"]
REASON = "over budget"


@asynccontextmanager
async def mixo(port: int) -> AsyncIterator[Platform]:
    """The platform of the shops, of which three have a campaign that it refuses."""
    everyone = {**HEALTHY, "campaigns": 3, "rejection": REASON}
    settings = {
        "accounts": accounts(*SHOPS),
        "everyone": everyone,
        "clients": {shop: {"rejected": ["cmp-0002"]} for shop in SHOPS[:3]},
    }
    async with running_platform(settings, "--port", str(port)) as platform:
        yield platform


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    (tmp_path / "tenants.d").mkdir()
    environ = environ_of(*OTHERS) | {key.replace("-", "_"): value for key, value in environ_of(*SHOPS).items()}
    other = {"accounts": accounts(*OTHERS), "everyone": {**HEALTHY, "campaigns": 3}}
    async with running_platform(other) as stable:
        port = free_port()
        installed = Program(tmp_path, {**environ, "TZ": "Europe/Berlin", "MIXO": str(port)})
        platforms = {"mixo": {"base_url": f"http://127.0.0.1:{port}"}, "stable": {"base_url": stable.base_url}}
        installed.settings(platforms=platforms, defaults={**AMPLE, "schedule": ONCE, "sync": {"max_attempts": 1}})
        for shop in SHOPS:
            installed.tenant(shop, credentials={"env": shop.upper().replace("-", "_")})
        for other_id in OTHERS:
            installed.tenant(other_id, platform="stable")
        yield installed


def masked(lines: Iterable[str]) -> list[str]:
    """Lines without what differs from night to night: instants, durations, ports, ids, and the widths of columns."""
    for pattern, mask in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d([+-]\d\d:\d\d)?", "INSTANT"),
        (r"\d\d:\d\d:\d\d[+-]\d\d:\d\d", "INSTANT"),
        (r"[+-]\d\d:\d\d", "ZONE"),
        (r"\b(\d+[dhms])+\b", "DURATION"),
        (r"\d+\.\d+ s\b", "DURATION"),
        (r"127\.0\.0\.1:\d+|'127\.0\.0\.1', \d+|ads\.example\.com(:443)?", "HOST"),
        (r"[0-9a-f]{32}-[0-9a-f]{16}", "TRACE"),
        (r" +", " "),
    ):
        lines = [re.sub(pattern, mask, line) for line in lines]
    return [line.strip() for line in lines]


def fits(told: list[str], expected: list[str]) -> bool:
    """Whether lines are as expected, where "..." stands for any lines."""
    if not expected:
        return not told
    first, *rest = expected
    if first == "...":
        return any(fits(told[skipped:], rest) for skipped in range(len(told) + 1))
    return bool(told) and told[0] == first and fits(told[1:], rest)


async def test_the_night_of_the_page_goes_as_it_tells(program: Program) -> None:
    steps = [block for block in page.blocks(page.section(PAGE, "A platform is down"), "") if block.startswith("$ ")]

    async def tell(number: int) -> None:
        command, *expected = steps[number].splitlines()
        for _ in range(5):  # a status is of a look that may be a second old
            ended = await program.run(*shlex.split(command.removeprefix("$ adsyncd ")))
            told = masked((ended.stdout + ended.stderr).decode().splitlines())
            if fits(told, masked(expected)) or not command.startswith("$ adsyncd status"):
                break
            await anyio.sleep(0.5)
        assert fits(told, masked(expected)), (command, told)

    async with program.daemon() as daemon:
        await daemon.logs("run ended", times=len(SHOPS) + len(OTHERS))
        for number in range(4):
            await tell(number)
        async with mixo(int(program.environ["MIXO"])) as platform:
            for number in (4, 5, 6):
                await tell(number)
            await daemon.logs("run ended", times=2 * len(SHOPS) + len(OTHERS))
            for number in (7, 8):
                await tell(number)
            await platform.change(clients={shop: {"rejected": []} for shop in SHOPS[:3]})
            for number in (9, 10):
                await tell(number)
            await daemon.logs("run ended", times=2 * len(SHOPS) + len(OTHERS) + 3)
            await tell(11)
        assert len(steps) == 12
