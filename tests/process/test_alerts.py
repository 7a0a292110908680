"""The real daemon rings once when a tenant's pushes are refused, and says once that it is over."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from support.alertmanager import Receivers, instant, running_receivers
from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import Daemon, Program

SECRET = "canary-94"
CAMPAIGNS = 10  # as few as make a sample
IDS = [f"cmp-{number:04d}" for number in range(1, CAMPAIGNS + 1)]
REFUSED = {"rejected": IDS}
# What is dead comes back only when it changes.
FIXED = {"rejected": [], "revisions": dict.fromkeys(IDS, 1)}


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    settings = {
        "accounts": accounts("acme", "globex"),
        "everyone": {**HEALTHY, "campaigns": CAMPAIGNS},
        "clients": {"acme": REFUSED},
    }
    async with running_platform(settings) as running:
        yield running


def installation(folder: Path, platform: Platform, receivers: Receivers) -> Program:
    environ = environ_of("acme", "globex")
    program = Program(folder, {**environ, "ADSYNCD_ALERTS__WEBHOOK": f"{receivers.address}/hook/{SECRET}"})
    program.settings(
        platform.base_url,
        alerts={"alertmanager": receivers.address, "repeat": "1s"},
        # So patient that nothing but the success rate rings.
        defaults={"quota": {"requests": 1_000_000, "per": "60s"}, "alerts": {"failures": 100}},
    )
    for tenant in ("acme", "globex"):
        program.tenant(tenant, schedule={"every": "1s"}, credentials={"env": tenant.upper()})
    return program


async def until(ready: Callable[[], Any], daemon: Daemon) -> None:
    with anyio.move_on_after(60):
        while not ready():  # noqa: ASYNC110 - a server's memory
            await anyio.sleep(0.05)
    assert ready(), daemon.log.read_text()


def told(receivers: Receivers, status: str) -> list[tuple[str, str]]:
    return [(alert["tenant"], alert["alert"]) for alert in receivers.hooked if alert["status"] == status]


RATE = ("acme", "low_success_rate")


async def test_a_tenant_whose_pushes_are_refused_rings_once_and_is_resolved_after_healing(
    tmp_path: Path, platform: Platform
) -> None:
    async with running_receivers() as receivers:
        program = installation(tmp_path, platform, receivers)
        async with program.daemon("--log-level", "debug") as daemon:
            await until(lambda: told(receivers, "firing"), daemon)
            sick = receivers.posted[-1]
            runs = len(daemon.events("run ended"))
            await daemon.logs("run ended", runs + 6)  # three of each tenant's, and no further word of it
            assert told(receivers, "firing") == [RATE]
            await until(lambda: len(receivers.posted) >= 3, daemon)
            assert receivers.firing(instant(sick["startsAt"])) == {RATE}
            await platform.change(clients={"acme": FIXED})
            await until(lambda: told(receivers, "resolved"), daemon)
        assert (told(receivers, "firing"), told(receivers, "resolved")) == ([RATE], [RATE])
        last = receivers.posted[-1]
        assert instant(last["startsAt"]) == instant(sick["startsAt"])
        assert instant(last["endsAt"]) == instant(receivers.hooked[-1]["resolved_at"])
        assert receivers.mistakes == []
        assert [entry["alert"] for entry in daemon.events("alert fires")] == ["low_success_rate"]
        [resolved] = daemon.events("alert resolved")
        [run] = [run for run in daemon.events("run ended") if run["trace_id"] == resolved["trace_id"]]
        assert (run["tenant"], run["outcome"]) == ("acme", "succeeded")
        assert SECRET not in daemon.log.read_text()


async def test_an_alert_outlives_the_daemon_and_its_end_is_told_by_the_next_one(
    tmp_path: Path, platform: Platform
) -> None:
    async with running_receivers() as receivers:
        program = installation(tmp_path, platform, receivers)
        async with program.daemon() as daemon:
            await until(lambda: told(receivers, "firing"), daemon)
            receivers.status = 500
        await platform.change(clients={"acme": FIXED})
        await program.ask("sync", "acme")
        assert told(receivers, "resolved") == []
        receivers.status = 200
        async with program.daemon() as daemon:
            await until(lambda: told(receivers, "resolved"), daemon)
        assert (told(receivers, "firing"), told(receivers, "resolved")) == ([RATE], [RATE])


async def test_a_tenant_whose_password_is_refused_rings_once_and_is_resolved_when_it_is_right(
    tmp_path: Path, platform: Platform
) -> None:
    await platform.change(clients={"acme": FIXED}, accounts={"globex@example.com": {"password": "another"}})
    async with running_receivers() as receivers:
        program = installation(tmp_path, platform, receivers)
        async with program.daemon("--log-level", "debug") as daemon:
            await until(lambda: told(receivers, "firing"), daemon)
            await daemon.logs("run ended", len(daemon.events("run ended")) + 4)
            await platform.change(accounts=accounts("globex"))
            await until(lambda: told(receivers, "resolved"), daemon)
    sign_in = [("globex", "sign_in_failing")]
    assert (told(receivers, "firing"), told(receivers, "resolved")) == (sign_in, sign_in)
    assert "the platform refused email and password" in receivers.hooked[0]["summary"]
    assert "pw-globex" not in str(receivers.hooked)


async def test_the_daemon_stops_in_good_order_though_its_receivers_hang(tmp_path: Path, platform: Platform) -> None:
    async with running_receivers(hanging=True) as receivers:
        program = installation(tmp_path, platform, receivers)
        async with program.daemon() as daemon:
            await until(lambda: receivers.refused >= 2, daemon)
        assert daemon.events("stopped")
