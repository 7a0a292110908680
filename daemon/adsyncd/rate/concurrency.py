"""How many pushes may be in flight at once, found out from the latency that the platform shows.

The rule is TCP Vegas', as in the limiter of that name in Netflix's concurrency-limits. Of n pushes in flight, those
that the platform does not work on yet only wait there, and the mean latency tells how many they are:
n * (1 - base / latency), by Little's law, where `base` is the latency of a platform at leisure. While that is less than
one there is room for one more; more than two are too many; a push that fails halves the limit.

Plain AIMD learns of a queue only when pushes time out, and each of those costs a permit. A gradient against a long
average (Gradient2) takes a load that lasts for normal, and drifts. Vegas has the least latency for `base`, and so takes
luck for leisure where latencies scatter; here it is measured, with half as many in flight for a round now and then.
"""

from statistics import fmean

_LEAST, _MOST, _START = 1, 20, 5  # of "auto"
_ROUND = 2  # times the limit, in pushes
_FEWEST = 10  # pushes in a round
_FEW, _MANY = 1.0, 2.0  # pushes that only wait at the platform
_RESOLUTION_S = 0.001  # what is less tells nothing of a platform
_ROUNDS = 30  # to one at leisure
_LEISURE = 20  # pushes in that
_LOWER = 0.1  # so fast follows `base` a latency that is less


class Concurrency:
    """A limit between `least` and `most`, adapted in rounds of pushes.

    A push that was sent before its round began tells of another limit, and counts in none.
    """

    __slots__ = ("_base_s", "_began_at", "_in_flight", "_latencies", "_rounds", "_usual", "least", "limit", "most")

    def __init__(self, least: int, most: int, limit: int) -> None:
        self.least = least
        self.most = most
        self.limit = limit
        self._base_s = 0.0  # unknown
        self._rounds = 0
        self._usual = 0  # the limit to return to from a round at leisure
        self._began_at = float("-inf")
        self._latencies: list[float] = []
        self._in_flight = 0  # at most

    @classmethod
    def of(cls, pushes: int | None) -> "Concurrency":
        """Return what `sync.concurrency` stands for: that number for good, or None for what proves to be good."""
        return cls(_LEAST, _MOST, _START) if pushes is None else cls(pushes, pushes, pushes)

    def sample(self, latency_s: float, in_flight: int, ok: bool, now: float) -> None:
        """Take note of a push whose answer comes now.

        `latency_s`: seconds from its sending to its answer. `in_flight`: how many were when it was sent, with itself.
        `ok`: false if it was not answered, or with a 5xx. `now` is on a monotonic line, in seconds.
        """
        if now - latency_s < self._began_at:
            return
        if not ok:
            self._usual = 0
            self._begin(self.limit - self.limit // 2, now)
            return
        self._latencies.append(max(latency_s, _RESOLUTION_S))
        self._in_flight = max(self._in_flight, in_flight)
        if len(self._latencies) >= (_LEISURE if self._usual else max(self.limit * _ROUND, _FEWEST)):
            self._begin(self._judge(fmean(self._latencies)), now)

    def _judge(self, latency_s: float) -> int:
        """Return the limit that follows from a round with this mean latency."""
        if self._usual:
            usual, self._usual = self._usual, 0
            self._base_s = (latency_s + (self._base_s or latency_s)) / 2
            return usual
        self._rounds += 1
        if not self._base_s or self._rounds % _ROUNDS == 0:
            self._usual = self.limit
            return self.limit // 2
        self._base_s += min(0.0, latency_s - self._base_s) * _LOWER
        queued = self._in_flight * (1 - self._base_s / latency_s)
        if queued > _MANY:
            return self.limit - int(queued / 2)
        return self.limit + int(queued < _FEW and self._in_flight >= self.limit)

    def _begin(self, limit: int, now: float) -> None:
        """Begin a round with another limit."""
        self.limit = min(self.most, max(self.least, limit))
        self._began_at = now
        self._latencies = []
        self._in_flight = 0
