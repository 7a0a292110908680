"""Real tenants that are due at once: they begin as fast as the database records it, those that were cut off first."""

from datetime import datetime, timedelta
from signal import SIGKILL

import anyio

from adsyncd.tenants.turns import AT_ONCE
from support.platform import Platform
from support.program import AMPLE, Daemon, Program

CUT_OFF, ALL = 40, 200
WITHIN = timedelta(seconds=30)  # at the earlier pace, one each 0.05 s, the gaps alone took 10 s


def add(program: Program, numbers: range) -> None:
    """Add tenants that share an account."""
    for number in numbers:
        program.tenant(f"t{number:03}", client_id="acme", credentials={"env": "ACME"})


def begun(daemon: Daemon) -> list[tuple[str, bool]]:
    """Return the tenants whose runs began, in order, and whether each was resumed."""
    return [(event["tenant"], event["resumed"]) for event in daemon.events("run begins")]


async def test_all_that_are_due_at_once_begin_in_seconds_those_that_were_cut_off_first(
    program: Program, platform: Platform
) -> None:
    await platform.treat(push_hang=1)
    program.settings(platform.base_url, defaults={**AMPLE, "sync": {"timeout": "10m"}})
    add(program, range(CUT_OFF))
    async with program.started("--log-level", "debug") as first:
        await first.logs("run begins", CUT_OFF)
        first.process.send_signal(SIGKILL)
        await first.process.wait()
    first.log.unlink()
    add(program, range(CUT_OFF, ALL))
    async with program.started("--log-level", "debug") as second:
        await second.logs("run begins", ALL)
        order = begun(second)
        assert {name for name, _ in order} == {f"t{number:03}" for number in range(ALL)}
        resumed = {name: place for place, (name, was_resumed) in enumerate(order) if was_resumed}
        assert resumed.keys() == {f"t{number:03}" for number in range(CUT_OFF)}
        assert max(resumed.values()) < CUT_OFF + AT_ONCE  # so many begin side by side
        [ready] = second.events("ready")
        assert ready["due"] == ALL
        last = second.events("run begins")[-1]
        assert datetime.fromisoformat(last["timestamp"]) - datetime.fromisoformat(ready["timestamp"]) < WITHIN
        assert not second.events("run not recorded")
        second.process.send_signal(SIGKILL)


async def test_a_stop_while_many_wait_for_their_turn_leaves_them_due(program: Program) -> None:
    add(program, range(ALL))
    async with program.started() as daemon:
        await daemon.logs("ready")
        with anyio.fail_after(10):
            assert await daemon.stop() == 0
    done = [run for run in (await program.runs()).values() if run["outcome"]]
    async with program.started("--log-level", "debug") as again:
        await again.logs("run begins", ALL - len(done))
        again.process.send_signal(SIGKILL)
    assert len(await program.runs()) == ALL
