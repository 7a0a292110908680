"""The permits in the hands of one request, from their grant until they are back in their buckets.

To the request they are one: as many of each window as it costs are put on record, cool or are refunded together.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from adsyncd.rate.account import Account
from adsyncd.rate.ledger import Claim, PermitLedger, PermitRecord
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
    """The permit for one request. It ends with `cool`, with `refund`, or with a `put_on_record` that fails."""

    __slots__ = ("_claims", "_gate", "_granted_at", "_parts", "_pool")

    def __init__(
        self, gate: Origin, granted_at: float, numbers: Numbers, pool: PlatformPool | None, shared: Numbers
    ) -> None:
        self._gate = gate
        self._granted_at = granted_at
        self._pool = pool
        # The permits of the client id's quota and, if there is one, of the platform's.
        self._parts = [(gate.account, numbers)] if pool is None else [(gate.account, numbers), (pool.account, shared)]
        self._claims: list[list[Claim]] = []
        gate.out.add(self)

    async def put_on_record(self, timeout_s: float) -> bool:
        """Record the permit as out with a request that ends within `timeout_s`, and return whether it may be used.

        If it may not, or if the recording fails, the permit is back: another process holds it, or the quota changed.
        """
        gate = self._gate
        ahead = [account.ahead(numbers, timeout_s) for account, numbers in self._parts]
        if all(ahead):
            self._claims = [*ahead, []]
            return True
        try:
            while True:
                parts = self._parts
                own: list[list[Claim]] = []
                wanted: list[list[Claim]] = []
                for account, numbers in parts:
                    if account.is_quiet():
                        self.refund()  # it was granted before the quota changed
                        return False
                    claims = account.claims(numbers, timeout_s)
                    own.append(claims)
                    wanted.append(account.unrecorded() + claims)
                taken = await self._claim(parts, wanted, timeout_s)
                if taken:
                    break
                if gate.account.holds(own[0]):
                    self._claims = [*own, []]  # no claims of a pool that it joins later
                    self._forget_past()
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
        for account, numbers in self._parts:
            if answered:
                account.limiter.arrived_within(since - self._granted_at)
            account.limiter.cool(numbers, since)
        self._is_back(since)

    def join(self, pool: PlatformPool | None) -> None:
        """Count in a platform's quota that is new or another one."""
        if pool is not self._pool:
            self._pool = pool
            self._parts = [self._parts[0], *([(pool.account, pool.limiter.adopt(self._cost))] if pool else [])]

    def refund(self) -> None:
        """Give the permit back at once: its request provably never left."""
        for account, numbers in self._parts:
            account.limiter.refund(numbers)
        self._is_back(None)

    @property
    def _cost(self) -> int:
        account, numbers = self._parts[0]
        return account.limiter.cost(numbers)

    async def _claim(
        self, parts: Sequence[tuple[Account, Numbers]], wanted: Sequence[list[Claim]], timeout_s: float
    ) -> Sequence[PermitRecord]:
        """Record claims, and blocks of permits for later requests with them. Returns what another process has."""
        ledger, room = self._gate.ledger, min(account.hand.room() for account, _ in parts)
        blocks = [account.claims_ahead(room, timeout_s) if room > 0 else [] for account, _ in parts]
        recorded = False
        try:
            taken = await ledger.claim_permits([*chain(*wanted, *blocks)])
            recorded = not taken
        finally:
            if room > 0:
                for (account, _), block in zip(parts, blocks, strict=True):
                    account.hand.settle(block if recorded else ())
        if recorded:
            for (account, _), claims, block in zip(parts, wanted, blocks, strict=True):
                account.recorded(claims + block)
                account.hand.count(ledger, self._cost)
        if room > 0:
            self._serve()
        return taken

    def _forget_past(self) -> None:
        for account, _ in self._parts:
            if past := account.past():
                self._gate.ledger.forget_permits(past)

    def _is_back(self, cools_since: float | None) -> None:
        gate = self._gate
        gate.out.discard(self)
        if self._claims:
            notes: list[Claim] = []
            for (account, numbers), claims in zip(self._parts, self._claims, strict=False):
                notes += account.notes(numbers, claims, cools_since)
            gate.ledger.note_permits(notes)
        if gate.waiting or self._pool is not None:
            self._serve()

    def _serve(self) -> None:
        if self._gate.waiting:
            self._gate.serve()
        if self._pool is not None:
            self._pool.serve()
