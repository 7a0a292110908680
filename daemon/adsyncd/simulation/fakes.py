"""Fakes for a life of the daemon in a simulation: its disk, Vault, process owner and instruments."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import anyio
from opentelemetry.metrics import NoOpMeter
from opentelemetry.util.types import AttributeValue
from sqlalchemy.exc import OperationalError

from adsyncd.credentials import Credentials
from adsyncd.errors import CredentialsUnavailable, StoreError
from adsyncd.model.tenant import CredentialsRef
from adsyncd.simulation.world import World, secrets_of
from adsyncd.telemetry.instruments import RUNS_OVERLAPPED, TENANT, Instruments, Metric
from adsyncd.telemetry.series import Reading

Result = TypeVar("Result")

_VAULT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FakeOwner:
    """The owner of a life, and the owners of lives that have ended."""

    id: str
    ended: set[str]

    def is_gone(self, other: str) -> bool:
        """Return whether another owner's life has ended."""
        return other in self.ended


class FakeDisk:
    """Runs the store's calls: at once or after a delay, and none for a dead daemon."""

    def __init__(self, random: Random, world: World) -> None:
        self._random = random
        self._world = world
        self.dead = anyio.Event()

    async def __call__(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG002 - one at a time here anyway
        """Run a call. Raises the errors of a failing database."""
        await self._wait()
        result = call()
        await self._wait()  # committed, but the caller has no answer yet
        return result

    async def _wait(self) -> None:
        now = anyio.current_time()
        wait_s = self._random.uniform(0, self._world.store_s) if self._world.store_s else 0.0
        wait_s += sum(stall.to_s - now for stall in self._world.stalls if stall.holds(now))
        if wait_s:
            with anyio.move_on_after(wait_s, shield=True):
                await self.dead.wait()
        if self.dead.is_set():
            raise StoreError("the process is dead")
        if any(failure.holds(now) for failure in self._world.failures):
            raise OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))


class FakeVault:
    """The source of credentials."""

    def __init__(self, world: World) -> None:
        self._accounts = {ref: email for ref, (email, _) in world.accounts.items()}
        self.passwords = dict(world.accounts.values())
        self.outages, self.hangs = world.outages, world.hangs

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return an account's current credentials."""
        now = anyio.current_time()
        if any(hang.holds(now) for hang in self.hangs):
            await anyio.sleep(_VAULT_TIMEOUT_S)
            raise CredentialsUnavailable("Vault did not answer in time")
        if any(outage.holds(now) for outage in self.outages):
            raise CredentialsUnavailable("Vault is sealed")
        email = self._accounts[ref]
        return Credentials.of(secrets_of(email, self.passwords[email]))

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        """Return None: here only a 401 shows a rotation."""
        return None


class CountingInstruments(Instruments):
    """Counts skipped ticks, and keeps the callbacks of gauges."""

    def __init__(self, overlapped: Counter[str]) -> None:
        super().__init__(NoOpMeter("simulation"))
        self._overlapped = overlapped
        self._reads: list[Callable[[], Iterable[Reading]]] = []

    def add(self, metric: Metric, amount: float, **attributes: AttributeValue) -> None:
        """Count skipped ticks."""
        if metric is RUNS_OVERLAPPED:
            self._overlapped[str(attributes["tenant"])] += int(amount)  # a tenant's counter begins with 0

    def record(self, metric: Metric, value: float, **attributes: AttributeValue) -> None:
        """Ignore it."""

    def observe(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Keep the callback."""
        self._reads.append(read)

    def observed(self, metric: Metric) -> dict[str, float]:
        """Return the values of a gauge, by tenant."""
        values = [value for read in self._reads for value in read()]
        return {str(attributes[TENANT]): value for name, value, attributes in values if name == metric.name}
