"""The decisions of a circuit breaker for a platform's host, from plain numbers.

    closed ──ten failures in ten seconds or more, and no answer──► open ──► a probe ──answered──► closed
                                                                    ▲          │
                                                                    └──────────┘ failed: open for twice as long

The client ids of a host share its circuit, yet none may suffer from the trouble of another. So an open circuit holds
back only those client ids that failed themselves, several times in a row. All others go on sending, and the first
answer closes the circuit for all. All times are seconds on one monotonic line.
"""

from random import Random

_FAILURES = 10
_SPAN_S = 10.0
_WITNESSES = 2  # client ids that must have failed: the trouble of one is not the host's
_OWN_FAILURES = 3  # in a row, until a client id is held back
_FIRST_S, _LONGEST_S = 5.0, 60.0
_SPREAD = 0.2
_PROBE_S = 30.0  # stop waiting for a probe after this long: its timeout may be longer
_COURTESY_S = 1.0  # client ids whose probe failed let others go first for so long


class Circuit:
    """The circuit of one host. `since`: the first of the failures since the last answer."""

    __slots__ = ("_failures", "_in_a_row", "_period_s", "_probe_at", "_probed", "_random", "since")

    def __init__(self, random: Random) -> None:
        self.since = 0.0
        self._random = random
        self._failures = 0  # since the last answer
        self._in_a_row: dict[str, int] = {}  # by client id, of all that ever sent
        self._period_s = 0.0  # for which it opened last; 0 while it is closed
        self._probe_at = 0.0
        self._probed: set[str] = set()  # client ids whose probe failed since all had a turn

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._period_s > 0

    def opens_at(self, client_id: str, now: float) -> float:
        """Return when a client id may send: `now`, or when its turn to probe comes if no other probes before."""
        if not self._holds(client_id):
            return now
        return max(now, self._probe_at + (_COURTESY_S if client_id in self._probed else 0.0))

    def begin(self, client_id: str, now: float) -> bool:
        """Begin a request that may be sent now, and return whether it is a probe, for which others wait."""
        if not self._holds(client_id):
            return False
        if client_id in self._probed:  # no other client id took its turn
            self._probed.clear()
        self._probe_at = now + _PROBE_S
        return True

    def answered(self, client_id: str) -> None:
        """Count an answer, whatever it says: the host lives."""
        if self.is_open:
            self._period_s = 0.0
            self._probed.clear()
            self._in_a_row = dict.fromkeys(self._in_a_row, 0)
        self._failures = self._in_a_row[client_id] = 0

    def failed(self, client_id: str, now: float, *, probe: bool) -> None:
        """Count a request without an answer, or with a 5xx."""
        if not self._failures:
            self.since = now
        self._failures += 1
        self._in_a_row[client_id] = self._in_a_row.get(client_id, 0) + 1
        if not self.is_open:
            if self._is_down(now):
                self._open(_FIRST_S, now)
        elif probe:
            self._probed.add(client_id)
            self._open(min(self._period_s * 2, _LONGEST_S), now)

    def abandoned(self, now: float, *, probe: bool) -> None:
        """Drop a request whose outcome stays unknown. If it was a probe, another may begin."""
        if probe:
            self._probe_at = min(self._probe_at, now)

    def _holds(self, client_id: str) -> bool:
        return self.is_open and self._in_a_row.get(client_id, 0) >= _OWN_FAILURES

    def _is_down(self, now: float) -> bool:
        if self._failures < _FAILURES or now - self.since < _SPAN_S:
            return False
        witnesses = sum(1 for failures in self._in_a_row.values() if failures)
        return witnesses >= min(_WITNESSES, len(self._in_a_row))

    def _open(self, period_s: float, now: float) -> None:
        self._period_s = period_s
        self._probe_at = now + period_s * self._random.uniform(1 - _SPREAD, 1 + _SPREAD)
