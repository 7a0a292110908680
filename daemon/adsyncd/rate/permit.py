"""A permit in the hands of one request, from its grant until it is back in its buckets."""

from itertools import chain
from typing import Protocol

from adsyncd.rate.account import Account
from adsyncd.rate.ledger import Claim, PermitLedger
from adsyncd.rate.limiter import Numbers
from adsyncd.rate.platform_pool import PlatformPool


class Origin(Protocol):
    """The gate that granted a permit, as the permit needs it."""

    account: Account
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
        self._claims: list[list[Claim]] = []
        gate.out.add(self)

    async def put_on_record(self, timeout_s: float) -> bool:
        """Record the permit as out with a request that ends within `timeout_s`, and return whether it may be used.

        If it may not, or if the recording fails, the permit is back: another process holds it, or the quota changed.
        """
        gate = self._gate
        try:
            while True:
                parts = self._parts()
                if any(account.is_quiet() for account, _ in parts):
                    self.refund()  # it was granted before the quota changed
                    return False
                carried = [account.unrecorded() for account, _ in parts]
                claims = [account.claims(numbers, timeout_s) for account, numbers in parts]
                taken = await gate.ledger.claim_permits([*chain(*carried, *claims)])
                if taken:
                    break
                for (account, _), *recorded in zip(parts, carried, claims, strict=True):
                    account.recorded(chain(*recorded))
                if gate.account.holds(claims[0]):
                    self._claims = [*claims, []]  # no claims of a pool that it joins later
                    if past := [record for account, _ in parts for record in account.past()]:
                        gate.ledger.forget_permits(past)
                    return True
        except BaseException:
            self.refund()
            raise
        for account, _ in parts:
            account.learn(taken)
        self.refund()  # after `learn`: the next waiting request must not get the same permit
        return False

    def cool(self, written_at: float | None = None, *, answered: bool = True) -> None:
        """Let the permit cool: its request was answered, or abandoned after it may have left.

        `written_at`: the monotonic instant at which the request was fully written, if it was.
        """
        since = self._gate.counted_by(written_at)
        for account, numbers in self._parts():
            if answered:
                account.limiter.arrived_within(since - self._granted_at)
            account.limiter.cool(numbers, since)
        self._is_back(since)

    def join(self, pool: PlatformPool | None) -> None:
        """Count in a platform's quota that is new or another one."""
        if pool is not self._pool:
            self._pool, self._shared = pool, pool.limiter.adopt() if pool else []

    def refund(self) -> None:
        """Give the permit back at once: its request provably never left."""
        for account, numbers in self._parts():
            account.limiter.refund(numbers)
        self._is_back(None)

    def _parts(self) -> list[tuple[Account, Numbers]]:
        """Return its permits of the client id's quota and, if there is one, of the platform's."""
        own = (self._gate.account, self._numbers)
        return [own] if self._pool is None else [own, (self._pool.account, self._shared)]

    def _is_back(self, cools_since: float | None) -> None:
        gate = self._gate
        gate.out.discard(self)
        if self._claims:
            parts = zip(self._parts(), self._claims, strict=False)
            notes = [account.notes(numbers, claims, cools_since) for (account, numbers), claims in parts]
            gate.ledger.note_permits([*chain(*notes)])
        if gate.waiting:
            gate.serve()
        if self._pool is not None:
            self._pool.serve()
