"""The real daemon, with one tenant on each of many hostile platforms at once, and one tenant that is well."""

import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import anyio
import pytest

from support.hostile import ANSWERS
from support.hostile_platforms import CAMPAIGNS, HostilePlatform, hostile_platforms
from support.platform import HEALTHY, accounts, running_platform
from support.program import AMPLE, Daemon, Program

HEALTH_WITHIN_S = 2  # a machine that is busy with other tests: benchmarks hold it to less
OFTEN = {"every": "1s"}


@dataclass
class Health:
    """Asks a daemon for its health all the time, in a thread of its own; keeps how long each answer took."""

    path: Path
    took_s: list[float] = field(default_factory=list)
    _over: Event = field(default_factory=Event)

    def ask(self) -> None:
        while not self._over.wait(0.02):
            began = time.perf_counter()
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(60)
                control.connect(str(self.path))
                control.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert control.recv(65536).startswith(b"HTTP/1.1 200")
            self.took_s.append(time.perf_counter() - began)

    def end(self) -> None:
        self._over.set()


@dataclass(frozen=True)
class Evidence:
    platforms: Mapping[str, HostilePlatform]
    runs: Mapping[str, Mapping[str, Any]]
    well: list[Mapping[str, Any]]
    refused: int
    health_s: list[float]
    log: str


@pytest.fixture(scope="module", params=["sign-in", "listing", "push"])
async def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evidence]:
    """What is known once each tenant on a hostile platform has run once."""
    folder = tmp_path_factory.mktemp("hostile")
    everyone = {**HEALTHY, "campaigns": 10, "push_hang": 0}
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(
            running_platform({"accounts": accounts("well"), "everyone": everyone})
        )
        hostile = await stack.enter_async_context(hostile_platforms(ANSWERS, request.param))
        tenants = {f"h{number:03}": each for number, each in enumerate(hostile)}
        program = Program(folder, dict.fromkeys(("H_EMAIL", "WELL_EMAIL"), "well@example.com"))
        program.environ.update(H_PASSWORD="secret", WELL_PASSWORD="pw-well")
        program.settings(defaults={**AMPLE, "sync": {"max_attempts": 1, "timeout": "6s", "concurrency": 2}})
        urls = {"mixo": platform.base_url} | {name: each.url for name, each in tenants.items()}
        with program.config.open("a") as settings:
            settings.writelines(f'[platforms.{name}]\nbase_url = "{url}"\n' for name, url in urls.items())
        program.tenant("well", schedule=OFTEN)
        for name in tenants:
            program.tenant(name, platform=name, credentials={"env": "H"})
        async with program.daemon() as daemon:
            await daemon.logs("ready")
            health = Health(folder / "control.sock")
            asking = Thread(target=health.ask)
            asking.start()
            try:
                await all_ended(daemon, tenants)
            finally:
                health.end()
                asking.join()
        ledger = await platform.ledger("well")
        yield Evidence(
            tenants,
            await program.runs(),
            await program.ask("runs", "well", "--limit", "1000"),
            ledger["refused"],
            health.took_s,
            daemon.log.read_text(),
        )


async def all_ended(daemon: Daemon, tenants: Mapping[str, HostilePlatform]) -> None:
    with suppress(TimeoutError), anyio.fail_after(120):
        while tenants.keys() - {event["tenant"] for event in daemon.events("run ended")}:  # noqa: ASYNC110 - a file
            await anyio.sleep(0.3)
    missing = tenants.keys() - {event["tenant"] for event in daemon.events("run ended")}
    assert not missing, [tenants[name].answer.name for name in missing]


async def test_health_answers_all_the_time(evidence: Evidence) -> None:
    assert max(evidence.health_s) < HEALTH_WITHIN_S


async def test_the_tenant_that_is_well_goes_on(evidence: Evidence) -> None:
    over = [run for run in evidence.well if run["outcome"] is not None]
    assert len(over) >= 2
    assert {(run["outcome"], run["failed"], run["retries"]) for run in over} <= {
        ("succeeded", 0, 0),
        ("interrupted", 0, 0),
    }
    assert evidence.refused == 0


async def test_what_counts_as_pushed_was_confirmed(evidence: Evidence) -> None:
    for name, platform in evidence.platforms.items():
        run, answer = evidence.runs[name], platform.answer
        arrived = len(set(CAMPAIGNS) & platform.asked.keys())
        assert run["pushed"] <= arrived, answer.name
        if not answer.by_chance:
            assert run["pushed"] == (len(CAMPAIGNS) if answer.is_good(platform.kind) else 0), (answer.name, run)
        assert run["listed"] == run["pushed"] + run["skipped"] + run["dead_lettered"] + run["failed"], answer.name


async def test_nothing_is_sent_twice_in_one_attempt(evidence: Evidence) -> None:
    for platform in evidence.platforms.values():
        assert max(platform.asked.values(), default=0) <= 1, (platform.answer.name, platform.asked)


async def test_each_failure_is_the_platform_s(evidence: Evidence) -> None:
    assert "Traceback" not in evidence.log
    assert "internal error" not in evidence.log
