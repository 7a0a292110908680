"""A permit in the hands of one request, from its grant until it is back in its buckets."""

from typing import Protocol

from adsyncd.rate.account import Account
from adsyncd.rate.ledger import Claim, PermitLedger
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.platform_pool import PlatformPool


class Origin(Protocol):
    """The gate that granted a permit, as the permit needs it."""

    account: Account
    limiter: Limiter
    ledger: PermitLedger
    out: set["Permit"]
    waiting: int

    def counted_by(self, written_at: float | None) -> float:
        """Return the monotonic instant by which a request that is over was counted."""

    def serve(self) -> None:
        """Grant to waiting requests."""


class Permit:
    """A permit for one request. It ends with `cool`, with `refund`, or with a `put_on_record` that fails."""

    __slots__ = ("_claims", "_gate", "_granted_at", "_numbers", "_pool", "_shared")

    def __init__(
        self, gate: Origin, granted_at: float, numbers: Numbers, pool: PlatformPool | None, shared: Numbers
    ) -> None:
        self._gate = gate
        self._granted_at = granted_at
        self._numbers = numbers
        self._pool = pool
        self._shared = shared
        self._claims: tuple[list[Claim], list[Claim]] | None = None
        gate.out.add(self)

    async def put_on_record(self, timeout_s: float) -> bool:
        """Record the permit as out with a request that ends within `timeout_s`, and return whether it may be used.

        If it may not, or if the recording fails, the permit is back: another process holds it, or the quota changed.
        """
        gate = self._gate
        try:
            while True:
                pool = self._pool
                if gate.account.is_quiet() or (pool and pool.account.is_quiet()):
                    self.refund()  # it was granted before the quota changed
                    return False
                own = gate.account.claims(self._numbers, timeout_s)
                shared = pool.account.claims(self._shared, timeout_s) if pool else []
                more = gate.account.unrecorded()
                more_shared = pool.account.unrecorded() if pool else []
                taken = await gate.ledger.claim_permits([*more, *own, *more_shared, *shared])
                if taken:
                    break
                gate.account.recorded([*more, *own])
                if pool:
                    pool.account.recorded([*more_shared, *shared])
                if gate.account.holds(own):
                    self._claims = own, shared
                    self._forget_the_past()
                    return True
        except BaseException:
            self.refund()
            raise
        gate.account.learn(taken)
        if pool:
            pool.account.learn(taken)
        self.refund()  # after `learn`: the next waiting request must not get the same permit
        return False

    def cool(self, written_at: float | None = None, *, answered: bool = True) -> None:
        """Let the permit cool: its request was answered, or abandoned after it may have left.

        `written_at`: the monotonic instant at which the request was fully written, if it was.
        """
        gate = self._gate
        since = gate.counted_by(written_at)
        if answered and gate.limiter.space_s:
            gate.limiter.arrived_within(since - self._granted_at)
        gate.limiter.cool(self._numbers, since)
        if self._pool is not None:
            if answered:
                self._pool.limiter.arrived_within(since - self._granted_at)
            self._pool.limiter.cool(self._shared, since)
        self._is_back(since)

    def join(self, pool: PlatformPool | None) -> None:
        """Count in a platform's quota that is new or another one."""
        if pool is not self._pool:
            self._pool, self._shared = pool, pool.limiter.adopt() if pool else []

    def refund(self) -> None:
        """Give the permit back at once: its request provably never left."""
        self._gate.limiter.refund(self._numbers)
        if self._pool is not None:
            self._pool.limiter.refund(self._shared)
        self._is_back(None)

    def _forget_the_past(self) -> None:
        past = self._gate.account.past()
        if self._pool is not None:
            past += self._pool.account.past()
        if past:
            self._gate.ledger.forget_permits(past)

    def _is_back(self, cools_since: float | None) -> None:
        gate, pool = self._gate, self._pool
        gate.out.discard(self)
        if self._claims is not None:
            own, shared = self._claims
            notes = gate.account.notes(self._numbers, own, cools_since)
            if pool is not None:
                notes += pool.account.notes(self._shared, shared, cools_since)
            gate.ledger.note_permits(notes)
        if gate.waiting:
            gate.serve()
        if pool is not None:
            pool.serve()
