"""What happened to one client id, as the platform saw it: tests check a client by it."""

from collections import Counter, deque
from collections.abc import Sequence

_KEPT = 50_000


class _Trail:
    """The most that was accepted in any trailing window of `window_s`."""

    def __init__(self, window_s: float) -> None:
        self.largest = 0
        self._window_s = window_s
        self._log: deque[float] = deque()

    def accept(self, now: float, cost: int) -> None:
        """Count a request as `cost`."""
        while self._log and self._log[0] + self._window_s <= now:
            self._log.popleft()
        self._log.extend([now] * cost)
        self.largest = max(self.largest, len(self._log))


class Counts:
    """Requests that were accepted and refused. Counts are exact; of instants the latest 50,000 are kept."""

    def __init__(self) -> None:
        self._accepted = 0
        self._refused = 0
        self._accepted_at: deque[float] = deque(maxlen=_KEPT)
        self._refused_at: deque[float] = deque(maxlen=_KEPT)
        self._trails: dict[float, _Trail] = {}
        self._first_s = 0.0

    def accept(self, now: float, windows_s: Sequence[float], cost: int = 1) -> None:
        """Book a request that was counted as `cost` against quotas with windows of `windows_s`."""
        self._accepted += 1
        self._accepted_at.append(now)
        self._first_s = windows_s[0]
        for window_s in windows_s:
            if window_s not in self._trails:
                self._trails[window_s] = _Trail(window_s)
            self._trails[window_s].accept(now, cost)

    def refuse(self, now: float) -> None:
        """Book a request that was refused."""
        self._refused += 1
        self._refused_at.append(now)

    def as_json(self) -> dict[str, object]:
        """Return what `GET /_ledger` shows.

        `largest_windows` tells for the length of each window, in seconds, the most accepted in any trailing one, by
        cost, and `largest_window` that of the first.
        """
        first = self._trails.get(self._first_s)
        return {
            "accepted": self._accepted,
            "refused": self._refused,
            "accepted_at": list(self._accepted_at),
            "refused_at": list(self._refused_at),
            "largest_window": first.largest if first else 0,
            "largest_windows": {f"{window_s:g}": trail.largest for window_s, trail in self._trails.items()},
        }


class Book(Counts):
    """A client id's page in the ledger. Counts are exact; of keys the latest 50,000 are kept, too.

    Instants are seconds since the epoch. An effect is a push that took place; a push without an idempotency key is
    booked under the key "". `refused_by_platform` are those of the refused whose own quotas had room, `foreign` the
    requests accepted from somebody else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens_issued = 0
        self.peak_concurrency = 0
        self.refused_by_platform = 0
        self.foreign = 0
        self._effects = 0
        self._effects_of: Counter[tuple[str, str]] = Counter()

    def effect(self, campaign_id: str, key: str) -> None:
        """Book a push that took place."""
        self._effects += 1
        self._effects_of[campaign_id, key] += 1
        if len(self._effects_of) > _KEPT:
            del self._effects_of[next(iter(self._effects_of))]

    def as_json(self) -> dict[str, object]:
        """Return the page as `GET /_ledger` shows it."""
        effects: dict[str, dict[str, int]] = {}
        for (campaign_id, key), count in self._effects_of.items():
            effects.setdefault(campaign_id, {})[key] = count
        return super().as_json() | {
            "refused_by_platform": self.refused_by_platform,
            "foreign": self.foreign,
            "peak_concurrency": self.peak_concurrency,
            "tokens_issued": self.tokens_issued,
            "effects_total": self._effects,
            "effects": effects,
        }
