from datetime import timedelta

import anyio
import pytest

from adsyncd.simulation.virtual_time import BACKEND, START, VirtualClock


async def test_time_passes_by_as_much_as_is_slept() -> None:
    clock = VirtualClock()
    before = clock.monotonic()
    await anyio.sleep(86_400)
    assert clock.monotonic() - before == pytest.approx(86_400)
    assert clock.now() - START == pytest.approx(timedelta(seconds=clock.monotonic()), abs=timedelta(milliseconds=1))


async def test_a_clock_that_is_set_moves_the_wall_alone() -> None:
    clock = VirtualClock()
    wall, line, boot = clock.now(), clock.monotonic(), clock.since_boot()
    clock.jump(timedelta(hours=-1))
    assert clock.now() == wall - timedelta(hours=1)
    assert (clock.monotonic(), clock.since_boot()) == (line, boot)


async def test_a_reboot_counts_anew_under_another_name() -> None:
    clock = VirtualClock()
    await anyio.sleep(10)
    boot_id, wall = clock.boot_id, clock.now()
    clock.reboot()
    assert (clock.since_boot(), clock.now()) == (0.0, wall)
    assert clock.boot_id != boot_id


def test_waiting_for_what_cannot_happen_is_an_error_and_no_hang() -> None:
    async def wait() -> None:
        await anyio.Event().wait()

    backend, options = BACKEND
    with pytest.raises(RuntimeError, match="can't happen"):
        anyio.run(wait, backend=backend, backend_options=dict(options))
