"""The way of a request until it may leave: it is signed in, its host is not left alone, and it has a permit.

    sign in ─► wait for the breaker ─► take a permit ─► token still good? ─► put on record ─► enter the breaker ─► leave
       ▲                                                        └───────────────────┴─────────────────┘
       └──────────────── again, and first in line ◄──── no: the permit is given back

A permit is somebody else's chance, too, for tenants share a platform's quota. So with one in hand nothing is awaited
that may hang for one tenant, as a sign-in does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.errors import WaitTooLong
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import Tenant
from adsyncd.rate import Gate, Permit, Priority
from adsyncd.rate.breaker import Breaker, Passage
from adsyncd.rate.wait import WaitReason
from adsyncd.tasks import beside
from adsyncd.telemetry.instruments import (
    QUOTA_WAIT,
    SERVER_ADDRESS,
    SPAN_BREAKER_WAIT,
    SPAN_QUOTA_WAIT,
    WAIT_REASON,
    WAIT_UNTIL,
    Instruments,
    span,
)

# Extensions of a request.
UNMETERED = "adsyncd.unmetered"  # the platform does not count it
AUTHORITY = "adsyncd.authority"  # who has a token for it: an `Authority`
PRIORITY = "adsyncd.priority"  # of those that wait for quota; a push's, if it isn't said

_TOO_LARGE = "see whether the drop-in's quota is too large"
_IN_THE_WAY = {
    WaitReason.QUOTA: ("the quota is used up", "lengthen sync.run_deadline"),
    WaitReason.PLATFORM_QUOTA: ("the platform's quota for all tenants is used up", "lengthen sync.run_deadline"),
    WaitReason.RETRY_AFTER: ("the platform asks for silence", _TOO_LARGE),
    WaitReason.FEEDBACK: ("by the platform's own count nothing is left", _TOO_LARGE),
}


class Authority(Protocol):
    """Who has the tokens that requests go with."""

    async def authorize(self, request: httpx.Request) -> None:
        """Give a request a token, however long that takes."""

    def authorize_nowait(self, request: httpx.Request) -> bool:
        """Give a request the token at hand, and return whether there is one that is good."""

    async def keep_authorized(self) -> None:
        """See to it that there is a good token at hand, until cancelled or until that fails."""


class Admission:
    """Admits the requests of one run."""

    def __init__(
        self,
        *,
        tenant: Tenant,
        gate: Gate,
        breaker: Breaker,
        tally: Tally,
        clock: Clock,
        tracer: Tracer,
        instruments: Instruments,
    ) -> None:
        self._tenant = tenant
        self._gate = gate
        self._breaker = breaker
        self._tally = tally
        self._clock = clock
        self._tracer = tracer
        self._instruments = instruments
        self._timeout_s = tenant.sync.timeout.total_seconds()
        self._tokens_run_out = False  # while their requests wait for quota
        self._waiting = 0
        self._waiting_since = 0.0

    async def admit(self, request: httpx.Request) -> tuple[Permit | None, Passage]:
        """Wait until a request may leave: for a token, for the breaker, and then for a permit if it is metered.

        Raises what signing in raises, `WaitTooLong`, `Stopping` and `StoreError`.
        """
        authority: Authority | None = request.extensions.get(AUTHORITY)
        permit, again = None, False
        while True:
            if authority is not None:
                await authority.authorize(request)
            if self._breaker.holds(self._tenant.client_id):
                await self._hold(request.url.host)
            if UNMETERED not in request.extensions:
                permit = await self._acquire(request, authority, again=again)
                again = True
                if permit is None:
                    continue
            if passage := self._breaker.enter(self._tenant.client_id):
                return permit, passage
            if permit is not None:  # the breaker opened meanwhile, or somebody else probes
                permit.refund()

    async def _hold(self, host: str) -> None:
        """Wait for the breaker, and say so."""
        attributes = {SERVER_ADDRESS: host, WAIT_REASON: WaitReason.BREAKER}
        with (
            span(self._tracer, SPAN_BREAKER_WAIT, attributes) as current,
            self._tally.waiting(WaitReason.BREAKER) as tell,
        ):

            def foresee(wait_s: float) -> None:
                until = self._clock.now() + timedelta(seconds=wait_s)
                tell(Wait(WaitReason.BREAKER, until, self._breaker.trouble))
                current.set_attribute(WAIT_UNTIL, until.isoformat(timespec="milliseconds"))

            await self._breaker.wait(self._tenant.client_id, foresee)

    async def _acquire(self, request: httpx.Request, authority: Authority | None, *, again: bool) -> Permit | None:
        """Return a permit that is on record, or None if the request has to come again."""
        permit = self._gate.acquire_nowait()
        if permit is None:
            if self._tokens_run_out and authority is not None:
                permit = await self._queue_authorized(request, authority, again=again)
            else:
                permit = await self._queue(request, again=again)
        if authority is not None and not authority.authorize_nowait(request):
            self._tokens_run_out = True
            permit.refund()
            return None
        recorded = await permit.put_on_record(self._timeout_s)
        return permit if recorded else None  # another process had taken it

    async def _queue_authorized(self, request: httpx.Request, authority: Authority, *, again: bool) -> Permit:
        """Wait for a permit for longer than a token may live."""
        permit = None
        try:
            async with beside(authority.keep_authorized):
                permit = await self._queue(request, again=again)
        except BaseException:
            if permit is not None:
                permit.refund()
            raise
        return permit

    async def _queue(self, request: httpx.Request, *, again: bool) -> Permit:
        """Wait for a permit, and say for what and until when: in the tally, and in the wait's span."""
        priority = request.extensions.get(PRIORITY, Priority.PUSH)
        with (
            span(self._tracer, SPAN_QUOTA_WAIT) as current,
            self._wait(),
            self._tally.waiting(WaitReason.QUOTA) as tell,
        ):

            def foresee(reason: WaitReason, opens_at: float | None) -> None:
                until = self._foresee(reason, opens_at)
                tell(Wait(reason, until))
                current.set_attribute(WAIT_REASON, reason)
                if until is not None:
                    current.set_attribute(WAIT_UNTIL, until.isoformat(timespec="milliseconds"))

            return await self._gate.acquire(priority, foresee, again=again)

    @contextmanager
    def _wait(self) -> Iterator[None]:
        """Measure the time in which at least one of the run's requests waits."""
        if not self._waiting:
            self._waiting_since = self._clock.monotonic()
        self._waiting += 1
        try:
            yield
        finally:
            now = self._clock.monotonic()
            waited_s, self._waiting_since = now - self._waiting_since, now
            self._waiting -= 1
            self._tally.waited_s += waited_s
            self._instruments.add(QUOTA_WAIT, waited_s, tenant=self._tenant.id)

    def _foresee(self, reason: WaitReason, opens_at: float | None) -> datetime | None:
        """Return until when the run waits, unless that is after its end: such a wait is not begun."""
        if opens_at is None:
            return None
        wait_s = opens_at - self._clock.monotonic()
        if opens_at > anyio.current_effective_deadline():
            why, fix = _IN_THE_WAY[reason]
            raise WaitTooLong(f"{why} for another {wait_s:.0f} s, which the run may not last; {fix}")
        return self._clock.now() + timedelta(seconds=wait_s)
