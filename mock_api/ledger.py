"""What really happened to one client id, as the platform saw it: the evidence that tests judge a client by."""

from collections import Counter, deque

_KEPT = 50_000


class Book:
    """A client id's page in the ledger. Counts are exact; of instants and keys the latest 50,000 are kept.

    Instants are seconds since the epoch. An effect is a push that took place; a push without an idempotency key is
    booked under the key "".
    """

    def __init__(self) -> None:
        self.tokens_issued = 0
        self.peak_concurrency = 0
        self._accepted = 0
        self._refused = 0
        self._largest_window = 0
        self._effects = 0
        self._accepted_at: deque[float] = deque(maxlen=_KEPT)
        self._refused_at: deque[float] = deque(maxlen=_KEPT)
        self._window: deque[float] = deque()
        self._effects_of: Counter[tuple[str, str]] = Counter()

    def accept(self, now: float, window_s: float) -> None:
        """Book a request that was counted against a quota with windows of `window_s`."""
        self._accepted += 1
        self._accepted_at.append(now)
        window = self._window
        while window and window[0] + window_s <= now:
            window.popleft()
        window.append(now)
        self._largest_window = max(self._largest_window, len(window))

    def refuse(self, now: float) -> None:
        """Book a request that was answered 429."""
        self._refused += 1
        self._refused_at.append(now)

    def effect(self, campaign_id: str, key: str) -> None:
        """Book a push that took place."""
        self._effects += 1
        self._effects_of[campaign_id, key] += 1
        if len(self._effects_of) > _KEPT:
            del self._effects_of[next(iter(self._effects_of))]

    def as_json(self) -> dict[str, object]:
        """Return the page as `GET /_ledger` shows it; `largest_window` is the most accepted in any trailing window."""
        effects: dict[str, dict[str, int]] = {}
        for (campaign_id, key), count in self._effects_of.items():
            effects.setdefault(campaign_id, {})[key] = count
        return {
            "accepted": self._accepted,
            "refused": self._refused,
            "accepted_at": list(self._accepted_at),
            "refused_at": list(self._refused_at),
            "largest_window": self._largest_window,
            "peak_concurrency": self.peak_concurrency,
            "tokens_issued": self.tokens_issued,
            "effects_total": self._effects,
            "effects": effects,
        }
