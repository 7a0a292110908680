"""The bucket of returning permits: one window of a quota, decided from plain numbers.

A bucket holds the N permits of one window. A permit is *held* from its grant until the response's headers, then it
*cools* for the window and a guard, then it is *free*. The server counted the request at some instant between its
sending and its response. A permit returns a whole window after the response, so no window of the server's can hold
N + 1 requests, whatever that instant was. Free = N - held - cooling; it is negative after a quota has shrunk.

    free ──grant──► held ──answered, or given up──► cooling ──window + guard──► free
      ▲               │
      └───refund──────┘   only if the request provably never left

All times are seconds on one monotonic line; the caller passes them in.
"""

from datetime import timedelta
from heapq import heappop, heappush, nsmallest

from adsyncd.rate.quota import Quota, Window

GUARD_SHARE = 0.001
GUARD_S = 0.005


def cools_for(window: Window | Quota) -> float:
    """Return for how many seconds a permit cools: the window, and a guard against the drift between two clocks."""
    return cooling_s(window.per / timedelta(milliseconds=1))


def cooling_s(length_ms: float) -> float:
    """Return for how many seconds a permit of a window of `length_ms` cools."""
    return length_ms / 1000 * (1 + GUARD_SHARE) + GUARD_S


class Bucket:
    """The permits of one window, each with a number."""

    __slots__ = (
        "_fresh",
        "_order",
        "_preferred",
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
        self.quiet_until = 0.0  # until then, requests that are not known may count in this window
        self.out: set[int] = set()  # numbers of the held permits
        self._until: dict[int, float] = {}  # by number, of the cooling permits
        self._order: list[tuple[float, int]] = []  # a heap of `_until`; may hold outdated entries
        self._fresh = 0  # numbers from here on were never out: a quota may be huge
        self._returned: set[int] = set()
        self._preferred: set[int] = set()  # returned too, and granted first
        self._spare: set[int] = set()  # numbers that only a larger quota has

    def __copy__(self) -> "Bucket":
        """Return a bucket that shares nothing with this one."""
        made: Bucket = object.__new__(Bucket)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(made, name, value.copy() if isinstance(value, dict | list | set) else value)
        return made

    def free(self, now: float) -> int:
        """Return how many permits are free; negative while more are out than the quota has."""
        order = self._order
        while order and order[0][0] <= now:
            free_at, number = heappop(order)
            if self._until.get(number) == free_at:
                del self._until[number]
                if number not in self.out:  # another process took it while it was held here
                    self._return(number)
        return self.requests - len(self.out) - len(self._until)

    def look(self, now: float) -> int:
        """Return how many permits are free, and change nothing. Safe in any thread."""
        return self.requests - len(self.out) - sum(free_at > now for free_at in list(self._until.values()))

    def take(self) -> int:
        """Grant a free permit and return its number."""
        if self._preferred:
            number = self._preferred.pop()
        elif self._returned:
            number = self._returned.pop()
        else:
            number = self._fresh
            self._fresh += 1
        self.out.add(number)
        return number

    def cool(self, number: int, since: float) -> None:
        """Let a held permit cool whose request was counted by `since`. Ignores a number that is not held."""
        if number in self.out:
            self.out.remove(number)
            self._cool(number, max(since + self.cools_for, self._until.get(number, 0.0)))

    def refund(self, number: int) -> None:
        """Free a held permit at once: its request never left this machine."""
        if number in self.out:
            self.out.remove(number)
            if number not in self._until:  # else another process has it
                self._return(number)

    def prefer(self, number: int) -> None:
        """Grant a free permit before all others."""
        if number in self._returned:
            self._returned.remove(number)
            self._preferred.add(number)

    def prefer_none(self) -> None:
        """Grant free permits in any order again."""
        self._returned |= self._preferred
        self._preferred.clear()

    def count(self, since: float) -> int:
        """Let a permit cool for a request that took none here, and return its number."""
        number = self.take()
        self.cool(number, since)
        return number

    def forget(self, number: int) -> None:
        """Free a cooling permit: another permit stands for the same request."""
        if self._until.pop(number, None) is not None and number not in self.out:
            self._return(number)

    def taken_elsewhere(self, number: int, until: float) -> None:
        """Keep back a permit that another process has out until then."""
        while self._fresh <= number:
            self._return(self._fresh)
            self._fresh += 1
        for free in (self._preferred, self._returned, self._spare):
            free.discard(number)
        self._cool(number, until)

    def answer_all(self, now: float) -> None:
        """Let all held permits cool as if answered now, as the last to return: the others' returns are known."""
        free_at = max([now + self.cools_for, *self._until.values()])
        held, self.out = self.out, set()
        for number in held:
            self._cool(number, free_at)

    def opens_at(self, now: float, count: int = 1) -> float | None:
        """Return the earliest instant at which `count` permits are free; None if a response must arrive first."""
        missing = count - self.free(now)
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

    def nth_at(self, count: int, now: float) -> float:
        """Return when the last of `count` permits can be granted, if all are granted and answered at once."""
        returns = sorted(max(now, free_at) for free_at in self._until.values())
        returns += [now + self.cools_for] * len(self.out)
        rounds, place = divmod(count - 1, max(1, self.requests))
        place -= self.requests - len(returns)  # the free ones come first
        return (now if place < 0 else returns[place]) + rounds * self.cools_for

    def allow(self, requests: int) -> None:
        """Hold so many permits from now on. Cooling permits go on cooling."""
        self.requests = requests
        self.prefer_none()
        known = self._returned | self._spare
        self._returned, self._spare = set(), set()
        for number in known:
            self._return(number)

    def _cool(self, number: int, free_at: float) -> None:
        self._until[number] = free_at
        heappush(self._order, (free_at, number))

    def _return(self, number: int) -> None:
        (self._returned if number < self.requests else self._spare).add(number)
