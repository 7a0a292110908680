"""The work that contenders do, and what it cost them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

PAGE_SIZE = 10
CONCURRENCY = 5  # pushes of one tenant at once


@dataclass(frozen=True, slots=True)
class Quota:
    """The requests that a tenant may send in each `per_s` seconds."""

    requests: int
    per_s: int


@dataclass(frozen=True, slots=True)
class Job:
    """One run of each of `tenants`, all due at one instant, on the platform at `base_url`.

    `campaigns`: of each tenant. `ca_file`: the authority that signed the platform's certificate, "" without TLS.
    `store`: the URL of adsyncd's store, "" for a new SQLite file. `unchanged`: do the work once before it is measured,
    so that there is nothing to push. `quota`: what limits each tenant, None for nothing.
    """

    base_url: str
    tenants: int
    campaigns: int
    ca_file: str = ""
    store: str = ""
    unchanged: bool = False
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    wall_s: float
    cpu_s: float


async def timed(work: Callable[[], Awaitable[None]]) -> Spent:
    """Return the seconds and the CPU seconds of this process that `work` takes."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    await work()
    return Spent(time.monotonic() - wall_s, time.process_time() - cpu_s)
