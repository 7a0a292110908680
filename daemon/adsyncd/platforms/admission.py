"""Admission: what a request waits for before it may leave, and how a permit is put on record.

    authorized ─► admit: wait for the breaker, then for quota ─► record: token still good? put the permit on record,
        ▲                                                        enter the breaker ─► send
        └────── again, and first in line ◄── no: give the permit back ──────┘

Tenants share a platform's quota, so one request's permit is another tenant's chance. With a permit in hand, nothing is
awaited that may hang for one tenant alone, such as a sign-in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.errors import WaitTooLong
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Authority, Call
from adsyncd.platforms.halt import Halt
from adsyncd.rate import Gate, Permit
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

_TOO_LARGE = "see whether the drop-in's quota is too large"
_BLOCKED_BY = {
    WaitReason.QUOTA: ("the quota is used up", "lengthen sync.run_deadline"),
    WaitReason.PLATFORM_QUOTA: ("the platform's quota for all tenants is used up", "lengthen sync.run_deadline"),
    WaitReason.RETRY_AFTER: ("the platform asked for no requests", _TOO_LARGE),
    WaitReason.FEEDBACK: ("the platform's own count says that nothing is left", _TOO_LARGE),
}


class Admission:
    """Admits the requests of one run."""

    def __init__(
        self,
        *,
        tenant: Tenant,
        gate: Gate,
        breaker: Breaker,
        halt: Halt,
        tally: Tally,
        clock: Clock,
        tracer: Tracer,
        instruments: Instruments,
    ) -> None:
        self._tenant = tenant
        self._gate = gate
        self._breaker = breaker
        self._halt = halt
        self._tally = tally
        self._clock = clock
        self._tracer = tracer
        self._instruments = instruments
        self._timeout_s = tenant.sync.timeout.total_seconds()
        self._tokens_run_out = False  # a token ran out while its request waited for quota
        self._waiting = 0
        self._waiting_since = 0.0

    async def admit(self, request: httpx.Request, call: Call, *, again: bool) -> Permit | None:
        """Wait for the breaker, then for a permit; an unmetered request needs none.

        A request that comes `again` is the first in its line. Raises `WaitTooLong`, `Stopping` and `RunCancelled`.
        """
        self._halt.check()
        if self._breaker.holds(self._tenant.client_id):
            await self._hold(request.url.host)
        if not call.metered:
            return None
        permit = self._gate.acquire_nowait(call.cost)
        if permit is not None:
            return permit
        if self._tokens_run_out and call.authority is not None:
            return await self._queue_authorized(call, call.authority, again=again)
        return await self._queue(call, again=again)

    async def record(self, request: httpx.Request, call: Call, permit: Permit | None) -> Passage | None:
        """Give the request its token, put its permit on record, and let it pass the breaker.

        Returns None if the request must come again, its permit given back: its token ran out while it waited, another
        process has the permit, the breaker opened, or another request probes. Raises `StoreError`.
        """
        if call.authority is not None and not call.authority.authorize(request):
            self._tokens_run_out = True
            if permit is not None:
                permit.refund()
            return None
        if permit is not None:
            with self._tally.storing():
                on_record = await permit.put_on_record(self._timeout_s)
            if not on_record:
                return None
        passage = self._breaker.enter(self._tenant.client_id)
        if passage is None and permit is not None:
            permit.refund()
        return passage

    async def _hold(self, host: str) -> None:
        """Wait for the breaker, and show the wait in the tally and in a span."""
        attributes = {SERVER_ADDRESS: host, WAIT_REASON: WaitReason.BREAKER}
        with (
            span(self._tracer, SPAN_BREAKER_WAIT, attributes) as current,
            self._tally.waiting(WaitReason.BREAKER) as tell,
            self._halt.waiting(),
        ):

            def on_wait(wait_s: float) -> None:
                until = self._clock.now() + timedelta(seconds=wait_s)
                tell(Wait(WaitReason.BREAKER, until, self._breaker.trouble))
                current.set_attribute(WAIT_UNTIL, until.isoformat(timespec="milliseconds"))

            await self._breaker.wait(self._tenant.client_id, on_wait)

    async def _queue_authorized(self, call: Call, authority: Authority, *, again: bool) -> Permit:
        """Wait for a permit longer than a token may live: keep a good token at hand meanwhile."""
        permit = None
        try:
            async with beside(authority.keep_authorized):
                permit = await self._queue(call, again=again)
        except BaseException:
            if permit is not None:
                permit.refund()
            raise
        return permit

    async def _queue(self, call: Call, *, again: bool) -> Permit:
        """Wait for a permit, and show the wait's reason and end in the tally and in a span."""
        with (
            span(self._tracer, SPAN_QUOTA_WAIT) as current,
            self._wait(),
            self._tally.waiting(WaitReason.QUOTA) as tell,
            self._halt.waiting(),
        ):

            def on_wait(reason: WaitReason, opens_at: float | None) -> None:
                until = self._until(reason, opens_at)
                tell(Wait(reason, until))
                current.set_attribute(WAIT_REASON, reason)
                if until is not None and current.is_recording():
                    current.set_attribute(WAIT_UNTIL, until.isoformat(timespec="milliseconds"))

            return await self._gate.acquire(call.priority, on_wait, cost=call.cost, again=again)

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

    def _until(self, reason: WaitReason, opens_at: float | None) -> datetime | None:
        """Return when a wait ends, if known. Raises `WaitTooLong` if the run ends before that."""
        if opens_at is None:
            return None
        wait_s = opens_at - self._clock.monotonic()
        if opens_at > anyio.current_effective_deadline():
            why, fix = _BLOCKED_BY[reason]
            raise WaitTooLong(f"{why} for another {wait_s:.0f} s, longer than the run may last; {fix}")
        return self._clock.now() + timedelta(seconds=wait_s)
