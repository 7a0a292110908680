"""All that limits the requests of one quota, decided from plain numbers: its windows, and what keeps grants back.

`Limiter.blocks` is the one place that says what keeps a grant back. A grant needs it to be empty, a wait takes its
reason and its end from it, and a forecast makes the same grants on a copy. All times are seconds on one monotonic line;
the caller passes them in.

A grant of cost c takes c permits of each window at one instant, or none. They are held together, and cool or are
refunded together. Where grants are spaced, it takes c spaces.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from itertools import cycle
from typing import NamedTuple

from adsyncd.rate.bucket import GUARD_SHARE, Bucket
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import Block, WaitReason, last_to_end

_UNKNOWN_SPREAD = 0.01  # of a window, until responses have shown the spread
_ANSWERS = 32  # the latest responses, which show how far arrivals are spread
_ONE_BY_ONE = 500  # permits that a forecast grants one by one
_MOST_ONE_BY_ONE = 2000  # grants, some 10 ms; of more, a forecast takes each window by itself

Numbers = list[int]
"""The permits of one grant: one in each window, and again, as often as it costs. New windows change them in place."""


class Usage(NamedTuple):
    """How many permits of a window of `length_ms` are out or cool."""

    length_ms: int
    requests: int
    used: int


class Limiter:
    """The buckets of a quota, one for each of its windows. A grant takes permits of each, or none.

    `paced`: grants are spaced so that a server takes them even if it counts in halves of windows or allows only small
    bursts. `spent`: the reason for a wait while too few permits are free. `largest`: the most that a grant costs.
    """

    def __init__(
        self, quota: Quota, *, paced: bool = False, spent: WaitReason = WaitReason.QUOTA, largest: int = 1
    ) -> None:
        self.buckets = [Bucket(window) for window in quota.windows]
        self._quota = quota
        self._spent = spent
        self._largest = largest
        self._held: dict[int, Numbers] = {}  # by identity
        self._closed_until = 0.0
        self.quiet_until = 0.0
        self.space_s = 0.0  # after a grant of cost 1
        self._paced = paced
        self._paced_until = 0.0
        self._spreads: deque[float] = deque(maxlen=_ANSWERS)
        self._left: list[tuple[int, float]] = []  # permits that the server's own counts leave, and until when
        self.pace(paced=paced)

    def blocks(self, now: float, cost: int = 1) -> list[Block]:
        """Return everything that keeps a grant of `cost` back; nothing if it can be made now."""
        blocks = []
        if self._closed_until > now:
            blocks.append(Block(WaitReason.RETRY_AFTER, self._closed_until))
        if self.quiet_until > now:
            blocks.append(Block(self._spent, self.quiet_until))
        if self._paced_until > now:
            blocks.append(Block(self._spent, self._paced_until))
        if self._left:
            blocks += [Block(WaitReason.FEEDBACK, until) for left, until in self._left if left < cost and until > now]
        for bucket in self.buckets:
            if bucket.free(now) < cost:
                blocks.append(Block(self._spent, bucket.opens_at(now, cost)))
        return blocks

    def opens_at(self, now: float, cost: int = 1) -> float | None:
        """Return the earliest instant at which a grant of `cost` can be made; None if a response must arrive first."""
        blocks = self.blocks(now, cost)
        return last_to_end(blocks).until if blocks else now

    def take(self, now: float, cost: int = 1) -> Numbers | None:
        """Grant `cost` permits in each window and return their numbers; None if that is not possible now."""
        if self.blocks(now, cost):
            return None
        if self._left or self.space_s:
            self._count(now, cost)
        return self.adopt(cost)

    def adopt(self, cost: int = 1) -> Numbers:
        """Return permits for a request that is already in flight, whether or not any are free."""
        buckets = self.buckets if cost == 1 else self.buckets * cost
        numbers = [buckets[0].take()] if len(buckets) == 1 else [bucket.take() for bucket in buckets]
        self._held[id(numbers)] = numbers
        return numbers

    def cool(self, numbers: Numbers, since: float) -> None:
        """Let held permits cool whose request was counted by `since`."""
        if self._held.pop(id(numbers), None) is None:
            return
        if len(numbers) == 1:  # the usual case
            self.buckets[0].cool(numbers[0], since)
            return
        for bucket, number in self.placed(numbers):
            bucket.cool(number, since)

    def refund(self, numbers: Numbers) -> None:
        """Free held permits at once: their request never left this machine."""
        if self._held.pop(id(numbers), None) is not None:
            for bucket, number in self.placed(numbers):
                bucket.refund(number)

    def placed(self, numbers: Sequence[int]) -> Iterable[tuple[Bucket, int]]:
        """Return the permits of a grant, each with its bucket."""
        if len(numbers) == 1:
            return ((self.buckets[0], numbers[0]),)  # the usual case
        return zip(cycle(self.buckets), numbers, strict=False)

    def cost(self, numbers: Numbers) -> int:
        """Return how many permits of each window a grant took."""
        return len(numbers) // len(self.buckets)

    def close(self, until: float) -> None:
        """Grant nothing before `until`, as the server asked. An earlier instant changes nothing."""
        self._closed_until = max(self._closed_until, until)

    def rest(self, until: float) -> None:
        """Grant nothing before `until`: another process has made a grant, and grants stay spaced."""
        self._paced_until = max(self._paced_until, until)

    def tighten(self, remaining: int, until: float, now: float) -> None:
        """Grant at most the `remaining` requests that the server states, less the permits in flight, until then.

        A request takes at least one permit, so this holds whether the server counts requests or what they cost. It only
        tightens. Each statement holds until its own end: one may be for a second, another for a day. A
        statement that leaves no fewer grants than another, for no longer, changes nothing.
        """
        left = max(0, remaining - self.held)
        if until > now and all(left < other or until > longer for other, longer in self._left):
            self._left = [(other, ends) for other, ends in self._left if other < left or ends > until]
            self._left.append((left, until))

    def pace(self, *, paced: bool) -> None:
        """Space grants evenly from now on, or no longer. The space is the window plus the spread, by N - 1.

        A server that weights the previous window takes N - 1 requests at even intervals, wherever its window begins. It
        refuses the second request of a window if the first one was sent before the window began and the previous window
        was full for the same reason. The spread of arrivals, added once a window, prevents that twice in a row.

        A grant of cost c is followed by c spaces. Each is the window by N less the largest cost, as so much may come on
        top of what an even flow has left. After two windows nothing counts any more, so no space is longer.
        """
        self._paced = paced
        self.space_s = self.space_after(1)

    def space_after(self, cost: int) -> float:
        """Return for how many seconds nothing is granted after a grant of `cost`."""
        if not self._paced:
            return 0.0
        spread_s = max(self._spreads, default=_UNKNOWN_SPREAD * self._quota.per.total_seconds())
        spaces = []
        for window in self._quota.windows:
            window_s = window.per.total_seconds() * (1 + GUARD_SHARE) + spread_s
            spare = max(window.requests - self._largest, 1 if self._largest == 1 else 0)
            spaces.append((cost / spare if cost < 2 * spare else 2) * window_s)
        return max(spaces)

    def expect(self, cost: int) -> None:
        """Expect grants that cost so much."""
        if cost > self._largest:
            self._largest = cost
            self.pace(paced=self._paced)

    def arrived_within(self, spread_s: float) -> None:
        """Learn that the server counted a request within so many seconds of its grant."""
        if self.space_s:
            self._spreads.append(spread_s)
            self.pace(paced=True)

    def change(self, quota: Quota, cooling: Mapping[int, Mapping[int, float]]) -> list[Bucket]:
        """Adopt another quota at once, and return the new buckets: earlier requests do not count there yet.

        Held permits stay held, in each window. `cooling`: the permits on record, by the length of their window (ms) and
        by number, and until when they cool; new buckets begin with them.
        """
        before = {bucket.length_ms: (place, bucket) for place, bucket in enumerate(self.buckets)}
        width = len(self.buckets)
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
                bucket.take() if place is None else numbers[first + place]
                for first in range(0, len(numbers), width)
                for bucket, place in zip(self.buckets, places, strict=True)
            ]
        self.heed_quiet()
        return new

    def heed_quiet(self) -> None:
        """Grant nothing while unknown requests may count in some window."""
        self.quiet_until = max(bucket.quiet_until for bucket in self.buckets)

    def nth_at(self, count: int, now: float, cost: int = 1) -> float:
        """Return when the last of `count` grants of `cost` can be made, if each request is answered at once.

        It takes no longer for huge counts: after the first grants, the tightest window repeats itself. In a window of
        thousands, grants are not made one by one: what several such windows cost each other is left out then.
        """
        tightest = max(self.buckets, key=lambda bucket: bucket.cools_for / max(1, bucket.requests // cost))
        a_round = max(1, tightest.requests // cost)
        round_s = max(tightest.cools_for, self.space_after(cost) * a_round)
        rounds = max(0, count - math.ceil(_ONE_BY_ONE / cost)) // a_round
        first = count - rounds * a_round
        grant = self.estimate if first > _MOST_ONE_BY_ONE else copy(self).rehearse
        at = grant(first, now, cost) + rounds * round_s
        stated = [
            until + (count - left // cost - 1) // a_round * round_s
            for left, until in self._left
            if left // cost < count
        ]
        return max([at, *stated]) if rounds or first > _MOST_ONE_BY_ONE else at

    def estimate(self, count: int, now: float, cost: int) -> float:
        """Return when the last of `count` grants of `cost` is made, as if each window were the only one."""
        begins = self.opens_at(now, cost)
        spaced = (now if begins is None else begins) + self.space_after(cost) * (count - 1)
        return max([spaced, *(bucket.nth_at(count * cost, now) for bucket in self.buckets)])

    def rehearse(self, count: int, now: float, cost: int) -> float:
        """Make `count` grants of `cost`, each answered at once, and return when the last was made. Only for a copy."""
        self.buckets = [copy(bucket) for bucket in self.buckets]
        for bucket in self.buckets:
            bucket.answer_all(now)
        at = now
        for _ in range(count):
            opens_at = self.opens_at(at, cost)
            at = at if opens_at is None else opens_at  # None only if the quota allows no such grant
            self._count(at, cost)
            for bucket in self.buckets:
                for _ in range(cost):
                    bucket.count(at)
        return at

    def free(self, now: float) -> int:
        """Return how many permits are free in the scarcest window, blocked or not. Safe in any thread."""
        return min(bucket.look(now) for bucket in self.buckets)

    def usage(self, now: float) -> list[Usage]:
        """Return how much of each window is used. Safe in any thread."""
        return [Usage(bucket.length_ms, bucket.requests, bucket.requests - bucket.look(now)) for bucket in self.buckets]

    @property
    def paced(self) -> bool:
        """Whether grants are spaced."""
        return self._paced

    @property
    def held(self) -> int:
        """How many permits of each window are out with a request."""
        return sum(map(len, self._held.values())) // len(self.buckets)

    @property
    def most(self) -> int:
        """The largest cost of a grant that the quota allows."""
        return min(bucket.requests for bucket in self.buckets)

    @property
    def longest_space_s(self) -> float:
        """The longest time for which nothing is granted after a grant."""
        return self.space_after(self._largest)

    @property
    def longest_s(self) -> float:
        """For how many seconds a permit of the longest window cools."""
        return max(bucket.cools_for for bucket in self.buckets)

    def _count(self, now: float, cost: int) -> None:
        """Count a grant in the limits that are not buckets."""
        if self._left:
            self._left = [(left - cost, until) for left, until in self._left if until > now]
        if self.space_s:
            self._paced_until = now + (self.space_s if cost == 1 else self.space_after(cost))
