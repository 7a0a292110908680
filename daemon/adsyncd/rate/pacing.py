"""Bursts or even spacing: which of the two a platform that keeps refusing accepts, by the evidence of its responses.

Bursts of a whole quota are right for most ways of counting. A platform that weights the previous window, or allows only
small bursts, refuses legal ones. But a platform also refuses if somebody else uses part of the quota; then spacing does
not help, or only seems to help once the other has gone. So spacing must end the refusals, and bursts must bring them
back, before spacing is learned, and again from time to time:

    BURST ──refused in 3 windows in a row──► TRIAL, spaced ──hardly refused any more──► CHECK, in bursts
      ▲                                        │                                          │        │
      ├── it did not help ─────────────────────┘                                          │     refused
      ├── not refused: spacing is not what helped ────────────────────────────────────────┘        ▼
      └── refused in 3 windows in a row: it does not help ─────────────────────────────────────── PACED
                                                              CHECK ◄──after many windows──────────┘

The next trial after one that failed needs twice as many windows, and so does the next check after one that was refused.
All times are seconds on one monotonic line.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from statistics import mean

from adsyncd.rate.quota import Shape

_WINDOWS = 3
_MOST_WINDOWS = 96
_CHECKED_AFTER = 24  # windows after spacing was learned here
_RECALLED_CHECKED_AFTER = 12  # windows after it was learned before a restart
_RARELY_CHECKED_AFTER = 1536
_LIGHT = 4  # windows without a queue prove as much of bursts as one with a queue
_AS_GOOD = 0.9  # of the requests accepted in bursts: spacing itself costs a tenth
_BETTER = 1.25
_RARE = 0.25  # of the refusals of bursts


class _Phase(Enum):
    BURST = auto()
    TRIAL = auto()
    CHECK = auto()
    PACED = auto()


@dataclass(slots=True)
class _Window:
    since: float
    accepted: int = 0
    refused: int = 0
    busy: bool = False


@dataclass(slots=True)
class Evidence:
    """The evidence of the responses to one client id's requests, with a window of `window_s`.

    `learned`: the shape that is proved, here or before a restart. `shape`: the shape in force.
    """

    window_s: float
    learned: Shape = Shape.BURST
    _phase: _Phase = field(init=False)
    _needed: int = _WINDOWS
    _checked_after: int = _RECALLED_CHECKED_AFTER
    _seen: list[_Window] = field(default_factory=list)  # windows that count in this phase
    _bursts: list[_Window] = field(default_factory=list)  # refused, before the trial
    _tolerated: float = 0.0  # refusals in a window with spacing
    _open: _Window | None = None

    def __post_init__(self) -> None:
        self._phase = _Phase.PACED if self.learned is Shape.PACED else _Phase.BURST

    @property
    def shape(self) -> Shape:
        """The shape in which permits are granted now."""
        return Shape.PACED if self._phase in {_Phase.TRIAL, _Phase.PACED} else Shape.BURST

    def answered(self, now: float, *, refused: bool, waiting: bool) -> None:
        """Count a response, and whether other requests wait for quota."""
        if self._open is not None and now >= self._open.since + self.window_s:
            closed, self._open = self._open, None
            self._judge(closed)
        if self._open is None:
            self._open = _Window(now)
        self._open.refused += refused
        self._open.accepted += not refused
        self._open.busy = waiting  # at its end: a window that was cut short proves nothing

    def _judge(self, window: _Window) -> None:
        match self._phase:
            case _Phase.BURST:
                self._seen = [*self._seen, window] if window.refused else []
                if len(self._seen) >= self._needed:
                    self._bursts = self._seen
                    self._enter(_Phase.TRIAL)
            case _Phase.TRIAL if window.busy:
                self._seen.append(window)
                if len(self._seen) >= _WINDOWS:
                    self._judge_trial()
            case _Phase.CHECK:
                self._seen.append(window)
                if window.refused:
                    self._keep()
                elif sum(_LIGHT if seen.busy else 1 for seen in self._seen) >= _LIGHT * _WINDOWS:
                    self._give_up()
            case _Phase.PACED:
                self._seen.append(window)
                self._judge_spacing()

    def _judge_trial(self) -> None:
        """Judge whether spacing ended the refusals, or had more requests accepted and few refused."""
        clean = sum(not window.refused for window in self._seen) >= _WINDOWS - 1
        self._tolerated = 0.0 if clean else _RARE * mean(window.refused for window in self._bursts)
        before, now = (mean(window.accepted for window in windows) for windows in (self._bursts, self._seen))
        refused = not clean and any(window.refused > self._tolerated for window in self._seen)
        if refused or now < before * (_AS_GOOD if clean else _BETTER):
            self._give_up()
        else:
            self._enter(_Phase.CHECK)

    def _judge_spacing(self) -> None:
        latest = self._seen[-_WINDOWS:]
        if len(latest) == _WINDOWS and all(window.refused > self._tolerated for window in latest):
            self._give_up()
        elif len(self._seen) >= self._checked_after:
            self._enter(_Phase.CHECK)

    def _keep(self) -> None:
        known = self.learned is Shape.PACED
        self._checked_after = min(2 * self._checked_after, _RARELY_CHECKED_AFTER) if known else _CHECKED_AFTER
        self.learned = Shape.PACED
        self._enter(_Phase.PACED)

    def _give_up(self) -> None:
        self._needed = min(2 * self._needed, _MOST_WINDOWS)
        self.learned = Shape.BURST
        self._enter(_Phase.BURST)

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._seen = phase, []
