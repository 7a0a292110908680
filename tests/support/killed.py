"""Processes that share a client id and are killed at any instant."""

from collections.abc import Iterable, Sequence
from functools import partial

import anyio

from adsyncd.rate.quota import Quota
from support.gates import MemoryLedger, Server, a_client, a_governor, at_once, rebooted
from support.virtual_time import VirtualClock

Life = tuple[float, float, int, bool]  # when it begins, how many seconds it lasts, its requests, on another machine


class Processes:
    """Several processes with one client id, and one ledger: each may be killed at any instant, or frozen."""

    def __init__(
        self, seed: int, quota: Quota, platform_quota: Quota | None = None, costs: Sequence[int] = (1,)
    ) -> None:
        self.server = Server(seed, costs)
        self.ledger = MemoryLedger()
        self.client = a_client(quota, platform_quota, costs=(min(costs), max(costs)))

    async def live(
        self,
        name: str,
        begins_s: float,
        lasts_s: float,
        requests: int,
        *,
        elsewhere: bool = False,
        rounds: int = 1,
    ) -> None:
        """Send `requests` in each of the `rounds`, those of a round at once."""
        await anyio.sleep(begins_s)
        clock = rebooted() if elsewhere else VirtualClock()
        through = a_governor(clock, self.ledger, name).gate(self.client)
        with anyio.move_on_after(lasts_s):
            for _ in range(rounds):
                await at_once(requests, self.server.recorded_request, through)

    async def live_together(self, lives: Iterable[Life], rounds: int = 1) -> None:
        """Let processes live at the same time, until the last one has ended."""
        async with anyio.create_task_group() as tasks:
            for number, (begins_s, lasts_s, requests, elsewhere) in enumerate(lives):
                name = f"process {number}"
                tasks.start_soon(
                    partial(self.live, name, begins_s, lasts_s, requests, elsewhere=elsewhere, rounds=rounds)
                )
