"""The bucket of returning permits: what may be sent when, decided from plain numbers.

A bucket holds the N permits of one window. A permit is *held* from its grant until the answer's headers, then it
*cools* for the window and a guard, then it is *free*. The server counted the request somewhere between its sending and
its answer, so a permit that comes back a whole window after the answer can't ever make N + 1 in the server's window,
wherever its instant was. Free = N - held - cooling; below zero while more are out than it has by now.

    free ──grant──► held ──answer, or given up──► cooling ──window + guard──► free
      ▲               │
      └───refund──────┘   only when the request provably never left

A quota has one bucket for each of its windows; a grant takes a permit of each, or none. All times are seconds on one
monotonic line, handed in by the caller.
"""

from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from heapq import heappop, heappush, heapreplace, nsmallest

from adsyncd.rate.quota import Quota, Window
from adsyncd.rate.wait import WaitReason

GUARD_SHARE = 0.001
GUARD_S = 0.005
_UNKNOWN_SPREAD = 0.01  # of a window, as long as no answer has told
_ANSWERS = 32  # so many of the latest tell how far arrivals are spread
_ONE_BY_ONE = 1000  # grants that are foreseen one after the other

Numbers = list[int]
"""Of the permits that one grant holds, one in each window. They are others once the quota has other windows."""


def cools_for(window: Window | Quota) -> float:
    """Return for how many seconds a permit cools: the window, and a guard for what two clocks differ by."""
    return cooling_s(window.per / timedelta(milliseconds=1))


def cooling_s(length_ms: float) -> float:
    """Return the same for a window of so many milliseconds."""
    return length_ms / 1000 * (1 + GUARD_SHARE) + GUARD_S


class Bucket:
    """The permits of one window, each with a number."""

    __slots__ = (
        "_fresh",
        "_order",
        "_returned",
        "_spare",
        "_until",
        "cools_for",
        "length_ms",
        "out",
        "quiet_until",
        "requests",
    )

    def __init__(self, window: Window) -> None:
        self.requests = window.requests
        self.length_ms = round(window.per / timedelta(milliseconds=1))
        self.cools_for = cools_for(window)
        self.quiet_until = 0.0  # before that not all is known that counts in this window
        self.out: set[int] = set()  # those that are held
        self._until: dict[int, float] = {}  # of those that cool
        self._order: list[tuple[float, int]] = []  # a heap; may hold what is past
        self._fresh = 0  # numbers from here on were never out: a quota may be huge
        self._returned: set[int] = set()
        self._spare: set[int] = set()  # of a quota that was larger

    def free(self, now: float) -> int:
        """Return how many permits are free; below zero while more are out than the quota has by now."""
        order = self._order
        while order and order[0][0] <= now:
            free_at, number = heappop(order)
            if self._until.get(number) == free_at:
                del self._until[number]
                if number not in self.out:  # it was found to be another process's while it was held
                    self._return(number)
        return self.requests - len(self.out) - len(self._until)

    def look(self, now: float) -> int:
        """Return how many permits are free, and change nothing: any thread may ask."""
        return self.requests - len(self.out) - sum(free_at > now for free_at in list(self._until.values()))

    def take(self) -> int:
        """Grant a permit that is free, and return its number."""
        if self._returned:
            number = self._returned.pop()
        else:
            number = self._fresh
            self._fresh += 1
        self.out.add(number)
        return number

    def cool(self, number: int, since: float) -> None:
        """Let a held permit cool, whose request the server has counted by `since`; another bucket's is none here."""
        if number in self.out:
            self.out.remove(number)
            self._cool(number, max(since + self.cools_for, self._until.get(number, 0.0)))

    def refund(self, number: int) -> None:
        """Free a held permit at once: its request never left this machine."""
        if number in self.out:
            self.out.remove(number)
            if number not in self._until:  # it is known by now that another process has it
                self._return(number)

    def count(self, since: float) -> int:
        """Let a permit cool for a request that took none here, and return its number."""
        number = self.take()
        self.cool(number, since)
        return number

    def forget(self, number: int) -> None:
        """Free a permit that cools: it stood for a request that another one stands for."""
        if self._until.pop(number, None) is not None and number not in self.out:
            self._return(number)

    def taken_elsewhere(self, number: int, until: float) -> None:
        """Take note that a permit which is not held here is out in another process, until then."""
        while self._fresh <= number:
            self._return(self._fresh)
            self._fresh += 1
        self._returned.discard(number)
        self._spare.discard(number)
        self._cool(number, until)

    def opens_at(self, now: float) -> float | None:
        """Return the earliest instant at which a permit is free, or None if that takes an answer first."""
        missing = 1 - self.free(now)
        if missing <= 0:
            return now
        if missing > len(self._until):
            return None
        if missing > 1:
            return nsmallest(missing, self._until.values())[-1]
        order = self._order
        while self._until.get(order[0][1]) != order[0][0]:
            heappop(order)
        return order[0][0]

    def allow(self, requests: int) -> None:
        """Have so many permits from now on. What cools goes on cooling as it did."""
        self.requests = requests
        known = self._returned | self._spare
        self._returned, self._spare = set(), set()
        for number in known:
            self._return(number)

    def returns(self, count: int, now: float) -> list[float]:
        """Return, in their order, when the next `count` permits are free, if all that is held is answered now.

        What is held counts as the last to come back: of the others it is known when they do.
        """
        free = min(count, max(0, self.free(now)))
        known = sorted(self._until.values())
        out = [*known, *[max([now + self.cools_for, *known[-1:]])] * len(self.out)]
        more_than_allowed = max(0, len(out) - self.requests)
        return [now] * free + out[more_than_allowed : more_than_allowed + count - free]

    def _cool(self, number: int, free_at: float) -> None:
        self._until[number] = free_at
        heappush(self._order, (free_at, number))

    def _return(self, number: int) -> None:
        (self._returned if number < self.requests else self._spare).add(number)


class Limits:
    """All that bounds the requests of one client id, or of one platform's tenants together.

    `paced`: grants are spaced so that even a server that counts in halves of windows, or allows but small bursts, takes
    each.
    """

    def __init__(self, quota: Quota, *, paced: bool = False) -> None:
        self.buckets = [Bucket(window) for window in quota.windows]
        self._quota = quota
        self._held: dict[int, Numbers] = {}  # by identity
        self._closed_until = 0.0
        self.quiet_until = 0.0
        self.space_s = 0.0  # between two grants
        self._paced_until = 0.0
        self._spreads: deque[float] = deque(maxlen=_ANSWERS)
        self._left: list[tuple[int, float]] = []  # grants that the server's own counts leave, and until when
        self.pace(paced=paced)

    def can_grant(self, now: float) -> bool:
        """Say whether there is a grant to be made now."""
        for _, until in self._blocks():
            if until > now:
                return False
        for bucket in self.buckets:  # noqa: SIM110 - this is in the way of every request, and faster than all()
            if bucket.free(now) <= 0:
                return False
        return True

    def take(self, now: float) -> Numbers | None:
        """Grant a permit in each window and return their numbers, or None if that can't be now."""
        if not self.can_grant(now):
            return None
        buckets = self.buckets
        if self._left:
            self._left = [(left - 1, until) for left, until in self._left if until > now]
        if self.space_s:
            self._paced_until = now + self.space_s
        numbers = [buckets[0].take()] if len(buckets) == 1 else [bucket.take() for bucket in buckets]
        self._held[id(numbers)] = numbers
        return numbers

    def adopt(self) -> Numbers:
        """Return permits for a request that is out already, whether or not any are free."""
        numbers = [bucket.take() for bucket in self.buckets]
        self._held[id(numbers)] = numbers
        return numbers

    def cool(self, numbers: Numbers, since: float) -> None:
        """Let held permits cool, whose request the server has counted by `since`."""
        if self._held.pop(id(numbers), None) is not None:
            for bucket, number in zip(self.buckets, numbers, strict=True):
                bucket.cool(number, since)

    def refund(self, numbers: Numbers) -> None:
        """Free held permits at once: their request never left this machine."""
        if self._held.pop(id(numbers), None) is not None:
            for bucket, number in zip(self.buckets, numbers, strict=True):
                bucket.refund(number)

    def close(self, until: float) -> None:
        """Grant nothing before `until`, which the server asked for. An earlier instant changes nothing."""
        self._closed_until = max(self._closed_until, until)

    def rest(self, until: float) -> None:
        """Grant nothing before `until`, so that grants stay spaced which others make, too."""
        self._paced_until = max(self._paced_until, until)

    def tighten(self, remaining: int, until: float, now: float) -> None:
        """Grant no more than the server says that `remaining` are, less what is on its way, until then.

        It can only take away: each count holds until its own end, be there one for a second and one for a day. One that
        leaves more than another, and for less long, changes nothing.
        """
        left = max(0, remaining - self.held)
        if until > now and all(left < other or until > longer for other, longer in self._left):
            self._left = [(other, ends) for other, ends in self._left if other < left or ends > until]
            self._left.append((left, until))

    def pace(self, *, paced: bool) -> None:
        """Space grants evenly from now on, or no longer: a window, and what arrivals are spread by, by N - 1.

        A window that counts the one before by weight takes N - 1 requests at even intervals, wherever it begins. It
        refuses the second of a window whose first was sent before it began, if the window before was full for the same
        reason: the spread, once a window, keeps that from happening twice in a row.
        """
        spread_s = max(self._spreads, default=_UNKNOWN_SPREAD * self._quota.per.total_seconds())
        spaces = [
            (window.per.total_seconds() * (1 + GUARD_SHARE) + spread_s) / max(1, window.requests - 1)
            for window in self._quota.windows
        ]
        self.space_s = max(spaces) if paced else 0.0

    def arrived_within(self, spread_s: float) -> None:
        """Take note that a request was counted within so many seconds of its grant."""
        if self.space_s:
            self._spreads.append(spread_s)
            self.pace(paced=True)

    def change(self, quota: Quota, cooling: Mapping[int, Mapping[int, float]]) -> list[Bucket]:
        """Take over another quota at once, and return the buckets that are new: what was sent is not counted there yet.

        What is held stays held, in each window. `cooling` are the permits that are on record, by the length of their
        window and by number, and until when they cool: new buckets begin with these.
        """
        before = {bucket.length_ms: (place, bucket) for place, bucket in enumerate(self.buckets)}
        self._quota = quota
        self.buckets, places, new = [], list[int | None](), []
        for window in quota.windows:
            bucket = Bucket(window)
            place, known = before.get(bucket.length_ms, (None, None))
            if known is None:
                for number, until in cooling.get(bucket.length_ms, {}).items():
                    bucket.taken_elsewhere(number, until)
                new.append(bucket)
            else:
                bucket = known
                bucket.allow(window.requests)
            self.buckets.append(bucket)
            places.append(place)
        for numbers in self._held.values():
            numbers[:] = [
                bucket.take() if place is None else numbers[place]
                for bucket, place in zip(self.buckets, places, strict=True)
            ]
        self.heed_quiet()
        self.pace(paced=bool(self.space_s))
        return new

    def heed_quiet(self) -> None:
        """Grant nothing while it is not known for some window what counts in it."""
        self.quiet_until = max(bucket.quiet_until for bucket in self.buckets)

    def opens_at(self, now: float) -> float | None:
        """Return the earliest instant at which a grant can be made, or None if that takes an answer first."""
        return self.blocks(now)[1]

    def blocks(self, now: float) -> tuple[WaitReason, float | None]:
        """Return what stands longest in the way of a grant, and until when if that is known; `now` if nothing does."""
        blocks = [(WaitReason.QUOTA, now), *self._blocks()]
        for bucket in self.buckets:
            opens_at = bucket.opens_at(now)
            if opens_at is None:
                return WaitReason.QUOTA, None
            blocks.append((WaitReason.QUOTA, opens_at))
        return max(blocks, key=lambda block: block[1])

    def nth_at(self, count: int, now: float) -> float:
        """Return when the grant after `count` - 1 others can be made, if each is answered at once.

        However many: after the first ones it goes round and round in the window that allows the least.
        """
        slowest = max(self.buckets, key=lambda bucket: bucket.cools_for / bucket.requests)
        round_s = max(slowest.cools_for, self.space_s * slowest.requests)
        rounds = max(0, count - _ONE_BY_ONE) // slowest.requests
        at = self._nth_at(count - rounds * slowest.requests, now) + rounds * round_s
        stated = [
            until + (count - left - 1) // slowest.requests * round_s for left, until in self._left if left < count
        ]
        return max([at, *stated]) if rounds else at

    def _nth_at(self, count: int, now: float) -> float:
        at = earliest = now
        lines = [(bucket.returns(count, now), bucket.cools_for) for bucket in self.buckets]
        for granted in range(count):
            blocks = [until for _, until in self._blocks(granted)]
            at = max(earliest, *blocks, *(returns[0] for returns, _ in lines))
            earliest = at + self.space_s
            for returns, cools_for_s in lines:
                heapreplace(returns, at + cools_for_s)
        return at

    def _blocks(self, granted: int = 0) -> list[tuple[WaitReason, float]]:
        """Return all that stands in the way of the grant after `granted` others, beside permits, and until when."""
        blocks = [
            (WaitReason.QUOTA, self._paced_until),
            (WaitReason.QUOTA, self.quiet_until),
            (WaitReason.RETRY_AFTER, self._closed_until),
        ]
        if self._left:
            blocks += [(WaitReason.FEEDBACK, until) for left, until in self._left if left <= granted]
        return blocks

    def free(self, now: float) -> int:
        """Return how many permits are free in the scarcest window, whether or not one may be taken now.

        Any thread may ask.
        """
        return min(bucket.look(now) for bucket in self.buckets)

    @property
    def paced(self) -> bool:
        """Whether grants are spaced."""
        return bool(self.space_s)

    @property
    def held(self) -> int:
        """How many permits are out with a request."""
        return len(self._held)

    @property
    def longest_s(self) -> float:
        """For how many seconds a permit of the longest window cools."""
        return max(bucket.cools_for for bucket in self.buckets)
