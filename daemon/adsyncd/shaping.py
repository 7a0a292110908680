"""From bursts to even spacing and back: which of the two a platform that keeps refusing takes better, by the evidence.

Bursts of a whole quota are right for most ways of counting. A platform that weights the window before, or allows only
small bursts, refuses legal ones. But so does one of whose quota somebody else takes a part, and there spacing helps
nothing. One refusal says little, so:

    BURST ──refused in 3 windows in a row──► PACED, on trial for 3 windows in which there was more to do than quota
      ▲                                        │        │
      └── it let through less ─────────────────┘        └── it was not refused, or let through more ──► PACED, kept

The next trial after one that failed needs twice as many windows. All times are seconds on one monotonic line.
"""

from dataclasses import dataclass, field

from adsyncd.tenant import Shape

_WINDOWS = 3
_MOST_WINDOWS = 96
_AS_GOOD = 0.9  # of what bursts let through: spacing itself costs a tenth


@dataclass(slots=True)
class _Window:
    since: float
    accepted: int = 0
    refused: int = 0
    busy: bool = False


@dataclass(slots=True)
class Evidence:
    """What the answers to one client id's requests say, with a window of `window_s`. `shape`: what is in force."""

    window_s: float
    shape: Shape = Shape.BURST
    trial: bool = False
    _needed: int = _WINDOWS
    _seen: list[_Window] = field(default_factory=list)  # that count, the last one still open
    _burst_yield: float = 0.0
    _open: _Window | None = None

    def answered(self, now: float, *, refused: bool, waiting: bool) -> bool:
        """Take note of an answer, and whether others wait for quota; say whether that has decided anything."""
        before = self.shape, self.trial
        if self._open is not None and now >= self._open.since + self.window_s:
            closed, self._open = self._open, None
            self._judge(closed)
        if self._open is None:
            self._open = _Window(now)
        self._open.refused += refused
        self._open.accepted += not refused
        self._open.busy = waiting  # to the end: of one that was cut short nobody knows what it would have let through
        return (self.shape, self.trial) != before

    def _judge(self, window: _Window) -> None:
        if self.shape is Shape.BURST:
            self._seen = [*self._seen, window] if window.refused else []
            if len(self._seen) >= self._needed:
                self._burst_yield = _mean(self._seen)
                self._decide(Shape.PACED, trial=True)
        elif self.trial and window.busy:
            self._seen.append(window)
            if len(self._seen) >= _WINDOWS:
                self._judge_trial()

    def _judge_trial(self) -> None:
        unrefused = not any(window.refused for window in self._seen)
        if _mean(self._seen) >= self._burst_yield * (_AS_GOOD if unrefused else 1.0):
            self._decide(Shape.PACED, trial=False)
        else:
            self._needed = min(2 * self._needed, _MOST_WINDOWS)
            self._decide(Shape.BURST, trial=False)

    def _decide(self, shape: Shape, *, trial: bool) -> None:
        self.shape, self.trial, self._seen = shape, trial, []


def _mean(windows: list[_Window]) -> float:
    return sum(window.accepted for window in windows) / len(windows)
