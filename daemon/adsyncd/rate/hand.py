"""Permits in hand: on record before they are granted, so that their requests wait for no write.

Where a quota is large, the write that records a request's permits records a block of others with it, at most a
twentieth of the smallest window. They are granted before all others, without a write, as long as their records outlast
a request and are as many as it costs. A block is half as large as the number of permits granted of late. What is left
of it after two seconds is noted as free, since no other process can have it meanwhile.

    free ──reserve──► being written ──settle──► in hand ──granted, take──► on record
      ▲                     │                      │
      └─────────────────────┴── not written        └── give_back: unused for long, the quota changes, the process stops
"""

from collections.abc import Callable, Sequence

from adsyncd.clock import Clock
from adsyncd.rate.bucket import Bucket
from adsyncd.rate.ledger import Claim, PermitLedger
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.timer import Timer

_KEPT_S = 2.0  # less than what a record allows for its writing: then it still outlasts a request
_SHARE = 20  # a block is at most this part of the smallest window
_MOST = 50
_SPARED = 4  # and at most this part of what is free


class Hand:
    """The block of a limiter's permits that is in hand or being written; there is only one at a time.

    `unused` returns the notes that claims were not used.
    """

    def __init__(self, limiter: Limiter, clock: Clock, unused: Callable[[Sequence[Claim]], Sequence[Claim]]) -> None:
        self._limiter = limiter
        self._clock = clock
        self._unused = unused
        self._claims: dict[tuple[int, int], Claim] = {}  # by window and number
        self._reserved = list[tuple[Bucket, int]]()
        self._used = 0  # permits, by requests of late
        self._ledger: PermitLedger | None = None
        self._timer = Timer(self._rest)

    def room(self) -> int:
        """Return how many permits may be recorded ahead now; none if the quota has few, or requests are rare."""
        if self._claims or self._reserved or self._limiter.paced:
            return 0
        now = self._clock.monotonic()
        free = min(bucket.free(now) for bucket in self._limiter.buckets)
        return min(self._most, self._used // 2, free // _SPARED) - 1

    def reserve(self, count: int) -> list[Numbers]:
        """Take so many permits that are to be recorded ahead."""
        buckets = self._limiter.buckets
        block = [[bucket.take() for bucket in buckets] for _ in range(count)]
        self._reserved = [one for numbers in block for one in zip(buckets, numbers, strict=True)]
        return block

    def settle(self, claims: Sequence[Claim]) -> None:
        """Free the reserved permits again: in hand if their `claims` are on record."""
        recorded = {(claim.record.window_ms, claim.record.number): claim for claim in claims}
        for bucket, number in self._reserved:
            bucket.refund(number)
            if (bucket.length_ms, number) in recorded:
                bucket.prefer(number)
        self._reserved = []
        self._claims = recorded

    def count(self, ledger: PermitLedger, cost: int) -> None:
        """Count a request whose permits were recorded in `ledger`."""
        if self._most > 1:
            self._ledger = ledger
            self._used = min(self._used + cost, 2 * _MOST)
            self._timer.set(self._clock.monotonic() + _KEPT_S)

    def take(self, numbers: Numbers, timeout_s: float) -> list[Claim]:
        """Return the claims of granted permits if all are in hand, and outlast a request of `timeout_s`."""
        if not self._claims:
            return []
        over, claims, limiter = self._clock.since_boot() + timeout_s, list[Claim](), self._limiter
        for bucket, number in limiter.placed(numbers):
            claim = self._claims.pop((bucket.length_ms, number), None)
            if claim is not None and over + bucket.cools_for <= claim.record.free_at:
                claims.append(claim)
        if len(claims) < len(numbers):
            return []
        self._used += limiter.cost(numbers)
        return claims

    def give_back(self) -> None:
        """Note permits in hand as free; granted ones are recorded again before they are used."""
        claims, self._claims = [*self._claims.values()], {}
        if claims and self._ledger is not None:
            for bucket in self._limiter.buckets:
                bucket.prefer_none()
            self._ledger.note_permits(self._unused(claims))

    @property
    def _most(self) -> int:
        return min(_MOST, min(bucket.requests for bucket in self._limiter.buckets) // _SHARE)

    def _rest(self) -> None:
        self.give_back()
        self._used //= 2
