"""The limiters to compare, each used as its documentation says, behind one interface.

Within `virtual_time` all of them use virtual time: it replaces the clocks that they read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from unittest.mock import patch

import httpx
import pyrate_limiter
import throttled.asyncio as throttled
from aiolimiter import AsyncLimiter
from httpx_limiter import AbstractRateLimiterRepository, AsyncMultiRateLimitedTransport, Rate
from httpx_limiter.aiolimiter import AiolimiterAsyncLimiter
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from adsyncd.clock import Clock
from adsyncd.config import TenantFile
from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.rate import Governor
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Quota
from adsyncd.simulation.virtual_time import VirtualClock, VirtualLoop

EPOCH = 1_800_000_000.0  # the wall clock's time when virtual time starts

Attempt = Callable[
    [], Awaitable[float]
]  # sends a request, and returns its Retry-After in seconds: 0 if it was accepted


class Limiter(Protocol):
    """Keeps the requests of each client id, the `key`, within a quota."""

    async def send(self, key: str, attempt: Attempt) -> float:
        """Make the attempt once a permit is granted, and return its result."""


class NoLedger:
    """Records nothing."""

    async def claim_permits(self, _claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        return ()

    async def read_permits(self, _platform: str, _client_id: str) -> Sequence[PermitRecord]:
        return ()

    def note_permits(self, claims: Sequence[Claim]) -> None: ...

    def forget_permits(self, records: Sequence[PermitRecord]) -> None: ...

    def note_shape(self, record: ShapeRecord) -> None: ...


def tenant(client_id: str, quota: Quota, platform_quota: Quota | None = None) -> Tenant:
    drop_in = TenantFile.model_validate({"client_id": client_id, "platform": "p", "credentials": {"env": "E"}})
    return replace(
        drop_in.tenant(client_id, Platform("p", "http://p.invalid", shipped_profile(), platform_quota)), quota=quota
    )


class Adsyncd:
    """The governor of adsyncd, without a record of its permits."""

    def __init__(self, quota: Quota, clock: Clock | None = None) -> None:
        self._quota = quota
        self._clock = clock or VirtualClock()
        self._governor = Governor(self._clock, NoLedger(), "benchmark")

    async def send(self, key: str, attempt: Attempt) -> float:
        gate = self._governor.gate(tenant(key, self._quota).client_quota)
        permit = await gate.acquire()
        written_at = self._clock.monotonic()
        try:
            stay_away_s = await attempt()
        finally:
            permit.cool(written_at)
        gate.heed((), refused=stay_away_s > 0)
        if stay_away_s:
            gate.close(stay_away_s)
        return stay_away_s


class Aiolimiter:
    """A leaky bucket for each client id."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._limiters: dict[str, AsyncLimiter] = {}

    async def send(self, key: str, attempt: Attempt) -> float:
        if key not in self._limiters:
            self._limiters[key] = AsyncLimiter(self._quota.requests, self._quota.per.total_seconds())
        async with self._limiters[key]:
            return await attempt()


class _Buckets(pyrate_limiter.BucketFactory):
    """A bucket for each name. Past items stay in it: on virtual time no thread can remove them."""

    def __init__(self, rate: pyrate_limiter.Rate) -> None:
        self._rate = rate
        self._clock = pyrate_limiter.MonotonicClock()
        self._buckets: dict[str, pyrate_limiter.InMemoryBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> pyrate_limiter.RateItem:
        return pyrate_limiter.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate_limiter.RateItem) -> pyrate_limiter.InMemoryBucket:
        if item.name not in self._buckets:
            self._buckets[item.name] = pyrate_limiter.InMemoryBucket([self._rate])
        return self._buckets[item.name]


class Pyrate:
    """A sliding log for each client id; it waits `buffer_ms` longer than necessary."""

    def __init__(self, quota: Quota, buffer_ms: int = 50) -> None:
        rate = pyrate_limiter.Rate(quota.requests, quota.per // timedelta(milliseconds=1))
        self._limiter = pyrate_limiter.Limiter(_Buckets(rate), buffer_ms=buffer_ms)

    async def send(self, key: str, attempt: Attempt) -> float:
        assert await self._limiter.try_acquire_async(key)
        return await attempt()


class Limits:
    """A moving window for each client id. The library doesn't wait: a refused request asks again when it may."""

    def __init__(self, quota: Quota) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerSecond(quota.requests, round(quota.per.total_seconds()))

    async def send(self, key: str, attempt: Attempt) -> float:
        while not await self._limiter.hit(self._item, key):
            stats = await self._limiter.get_window_stats(self._item, key)
            await asyncio.sleep(max(0.001, stats.reset_time - time.time()))  # noqa: TID251 - the clock that it reads
        return await attempt()


class Throttled:
    """The generic cell rate algorithm for each client id. Its own wait polls every half second; asking is exact."""

    def __init__(self, quota: Quota) -> None:
        rate = throttled.per_duration(quota.per, quota.requests, quota.requests)
        self._throttled = throttled.Throttled(using="gcra", quota=rate, store=throttled.MemoryStore())

    async def send(self, key: str, attempt: Attempt) -> float:
        while True:
            result = await self._throttled.limit(key)
            if not result.limited:
                return await attempt()
            await asyncio.sleep(result.state.retry_after)


class _Repository(AbstractRateLimiterRepository):
    def __init__(self, quota: Quota) -> None:
        super().__init__()
        self._rate = Rate.create(quota.requests, quota.per)

    def get_identifier(self, request: httpx.Request) -> str:
        return request.headers["x-client-id"]

    def create(self, request: httpx.Request) -> AiolimiterAsyncLimiter:  # noqa: ARG002 - the library's signature
        return AiolimiterAsyncLimiter.create(self._rate)


class _Attempts(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        stay_away_s = await request.extensions["attempt"]()
        return httpx.Response(429 if stay_away_s else 200, headers={"retry-after": str(stay_away_s)})


class HttpxLimiter:
    """A transport of httpx's with one of aiolimiter's leaky buckets for each client id."""

    def __init__(self, quota: Quota) -> None:
        self._transport = AsyncMultiRateLimitedTransport(repository=_Repository(quota), transport=_Attempts())

    async def send(self, key: str, attempt: Attempt) -> float:
        request = httpx.Request(
            "POST", "http://p.invalid", headers={"x-client-id": key}, extensions={"attempt": attempt}
        )
        answer = await self._transport.handle_async_request(request)
        return float(answer.headers["retry-after"])


PEERS: dict[str, Callable[[Quota], Limiter]] = {
    "aiolimiter": Aiolimiter,
    "pyrate-limiter": Pyrate,
    "pyrate-limiter, no buffer": lambda quota: Pyrate(quota, buffer_ms=0),
    "limits, moving window": Limits,
    "throttled-py, GCRA": Throttled,
    "httpx-limiter": HttpxLimiter,
}


class PassingLoop(VirtualLoop):
    """A loop whose time advances 0.1 us with each read of the clock: otherwise some limiters would wait forever."""

    def time(self) -> float:
        self._virtual.now += 1e-7
        return self._virtual.now


BACKEND: Mapping[str, Any] = {"backend": "asyncio", "backend_options": {"loop_factory": PassingLoop}}


@contextmanager
def virtual_time() -> Iterator[None]:
    """Let every clock show the time of the running event loop; nothing goes to a thread."""

    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    async def to_thread(call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - asyncio's signature
        return call(*arguments)

    with (
        patch("time.time", lambda: EPOCH + monotonic()),
        patch("time.monotonic", monotonic),
        patch("pyrate_limiter.limiter.monotonic", monotonic),
        patch("pyrate_limiter.clocks.monotonic_ns", lambda: round(monotonic() * 1e9)),
        patch("asyncio.to_thread", to_thread),
    ):
        yield
