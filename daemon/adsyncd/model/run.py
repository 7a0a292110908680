"""One run of one tenant: its id, its counts while it is in progress, and its record."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType

from adsyncd.model.campaign import Push
from adsyncd.rate.wait import WaitReason


class Outcome(StrEnum):
    """How a run ended.

    `SUCCEEDED`: the listing is complete, and every campaign was pushed, skipped or stored. `PARTIAL`: some campaigns
    failed or could not be read, or the listing collapsed. `FAILED`: the listing failed. `ABANDONED`: the deadline
    passed, or an operator cancelled the run.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"


CANCELLED = "cancelled by an operator"


class Listing(StrEnum):
    """How a run got its listing. One pieced together by a resumed run has None: it proves nothing about missing ones.

    `COMPLETE`: all pages without an interruption. `COLLAPSED`: complete, but more than half of the campaigns are
    missing, and the previous listing does not agree. `KEPT`: an earlier run's listing, used again.
    """

    COMPLETE = "complete"
    COLLAPSED = "collapsed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait in progress; `until` is its end, or None if that is unknown.

    `detail`: the host of the breaker and its trouble, or the failure that caused the wait.
    """

    reason: WaitReason
    until: datetime | None = None
    detail: str = ""

    def __str__(self) -> str:
        """Return the words that follow "waiting for the"."""
        link = "of" if self.reason is WaitReason.BREAKER else "after"
        return f"{self.reason} {link} {self.detail}" if self.detail else str(self.reason)


_STORING = Wait(WaitReason.STORE)


def _no_time() -> float:
    return 0.0


@dataclass(slots=True)
class Tally:
    """The counts of a run in progress: distinct campaigns, and the requests for them.

    `stored`: campaigns that the run only stores, and does not push. `requests`: all metered requests that were sent;
    `retries`: those that repeat a failed one; `refused`: the 429s. `waited_s`: seconds in which at least one request
    waited for quota. `announced`: the largest total that a page named; once the listing is complete, the number of
    campaigns. `skipped_ticks`: ticks that were skipped because the run was still in progress. `waits`: see
    `waits_so_far`, which adds the wait in progress. `ongoing`: the waits in progress, oldest first. `cut_short`: the
    wait in progress when the run was cancelled. `now`: a monotonic clock; without one, waits take no time.
    """

    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    stored: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    announced: int = 0
    skipped_ticks: int = 0
    waits: dict[WaitReason, float] = field(default_factory=dict)
    ongoing: dict[int, Wait] = field(default_factory=dict)
    cut_short: Wait | None = None
    now: Callable[[], float] = field(default=_no_time, repr=False, compare=False, kw_only=True)
    _reason: WaitReason | None = field(default=None, init=False, repr=False, compare=False)  # of the oldest wait
    _since: float = field(default=0.0, init=False, repr=False, compare=False)

    def waiting(
        self, reason: WaitReason, until: datetime | None = None, detail: str = ""
    ) -> AbstractContextManager[Callable[[Wait], None]]:
        """Count a wait during a block. The yielded function replaces the wait when its reason or end changes."""
        return _Waiting(self, Wait(reason, until, detail))

    def wait(self, now: datetime) -> Wait | None:
        """Return what the run waits for: the wait in progress that ends first, or the oldest if no end is known.

        A request in line behind others learns nothing new until it is the first, so its end may be past. Waits for the
        database are part of a run's work, and none of these.
        """
        by_end = {wait.until: wait for wait in reversed(self.ongoing.values()) if wait.until and wait.until > now}
        return by_end[min(by_end)] if by_end else self.oldest_wait()

    def oldest_wait(self) -> Wait | None:
        """Return the oldest wait in progress that is not for the database."""
        return next((wait for wait in self.ongoing.values() if wait.reason is not WaitReason.STORE), None)

    def storing(self) -> AbstractContextManager[Callable[[Wait], None]]:
        """Count a block as a wait for the database."""
        return _Waiting(self, _STORING)

    def waits_so_far(self) -> dict[WaitReason, float]:
        """Return the seconds that the run waited, by the reason of the oldest wait at each instant."""
        if self._reason is None:
            return dict(self.waits)
        taken = self.waits.get(self._reason, 0.0) + self.now() - self._since
        return {**self.waits, self._reason: taken}

    def _turn(self) -> None:
        """Note that the oldest wait, whose reason counts, may be another one from now on."""
        oldest = next(iter(self.ongoing.values()), None)
        reason = oldest.reason if oldest else None
        if reason is self._reason:
            return
        now = self.now()
        if self._reason is not None:
            self.waits[self._reason] = self.waits.get(self._reason, 0.0) + now - self._since
        self._reason, self._since = reason, now

    @property
    def settled(self) -> int:
        """Campaigns whose outcome is known."""
        return self.pushed + self.skipped + self.stored + self.dead_lettered + self.failed


class _Waiting:
    """A wait of a tally, during a block."""

    __slots__ = ("_tally", "_wait")

    def __init__(self, tally: Tally, wait: Wait) -> None:
        self._tally = tally
        self._wait = wait

    def __enter__(self) -> Callable[[Wait], None]:
        self._replace(self._wait)
        return self._replace

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        waits = self._tally.ongoing
        if error is not None and not isinstance(error, Exception):  # cancelled
            self._tally.cut_short = self._tally.cut_short or self._tally.oldest_wait()
        del waits[id(self)]
        self._tally._turn()  # noqa: SLF001 - of the same module

    def _replace(self, wait: Wait) -> None:
        self._tally.ongoing[id(self)] = wait
        self._tally._turn()  # noqa: SLF001 - of the same module


@dataclass(frozen=True, slots=True)
class Run:
    """A run's record. `ended_at` and `outcome` are None while the run is in progress.

    `note`: remarks that are no error. `listing`: see Listing. `late_s`: the seconds from the oldest tick that the run
    stands for, its own or a skipped one before it, to its start. `skipped_ticks`: ticks that were skipped because the
    run was still in progress. `waits`: the seconds of the run by the reason for which it waited; the rest is none.
    `span_id`: of its trace's root span. A resumed run has the ids of its last life.
    `untried`: how many of the `failed` campaigns have no outcome of their own, since the run was cut short.
    `account_hash`: `Tenant.account_hash` of its last life; empty if an earlier version wrote the run.
    """

    tenant: str
    run_id: str
    fire_time: datetime
    started_at: datetime
    trace_id: str
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    stored: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    error: str | None = None
    note: str | None = None
    listing: Listing | None = None
    late_s: float = 0.0
    skipped_ticks: int = 0
    waits: Mapping[WaitReason, float] = field(default_factory=dict, hash=False)
    span_id: str = ""
    untried: int = 0
    account_hash: str = ""

    @property
    def was_cancelled(self) -> bool:
        """Whether an operator ended it. Such a run is no evidence: it neither failed nor succeeded."""
        return self.outcome is Outcome.ABANDONED and self.error is None

    def is_of(self, account_hash: str) -> bool:
        """Return whether it had an account, as far as that is on record."""
        return self.account_hash in ("", account_hash)


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run starts or resumes: page 1 with nothing owed, or the state that an unclean end left.

    `complete`: its last page is listed. `owed`: the pushes whose outcome is not known. `tally`: the counts so far, as
    far as the store knows them. `announced`: the most campaigns that a page named in all. `odd`: the odd items that it
    listed, in words. `source`: the listing that its first page belongs to. `cursor`: what leads to the next page if its
    number does not. `late_s`: how late the run first began. At its beginning the tenant has `live` campaigns that are
    not marked deleted, of which the last complete listing `missed` some.
    """

    started_at: datetime
    next_page: int
    complete: bool
    owed: tuple[Push, ...]
    tally: Tally
    announced: int = 0
    odd: str | None = None
    source: str | None = None
    cursor: str | None = None
    late_s: float = 0.0
    live: int = 0
    missed: int = 0


def lateness_s(fire_time: datetime, oldest_tick: datetime | None, started_at: datetime) -> float:
    """Return the seconds from the oldest tick that a run stands for to its start; 0 if the clock was set back."""
    return max(0.0, (started_at - min(fire_time, oldest_tick or fire_time)).total_seconds())


def whole_ms(instant: datetime) -> datetime:
    """Cut to the millisecond, in which runs are named."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def run_id(tenant_id: str, fire_time: datetime) -> str:
    """Return the name of a tenant's run for a fire time: `acme-20261125T101500.000Z`, one for one."""
    stamp = fire_time.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{tenant_id}-{stamp}Z"


_BEGINNING = re.compile(r"(.+)-([0-9]{4,7}|[0-9]{8}|[0-9]{8}T[0-9]{0,6}|[0-9]{8}T[0-9]{6}\.[0-9]{0,3}Z?)")
_UNITS = {  # by digits: the longest that a time which they begin lasts
    4: timedelta(days=366),
    6: timedelta(days=31),
    8: timedelta(days=1),
    10: timedelta(hours=1),
    12: timedelta(minutes=1),
    14: timedelta(seconds=1),
}


def period_of(beginning: str) -> tuple[str, datetime, datetime] | None:
    """Return the tenant of a run id, or of its beginning, and a time in which the fire times of such runs are.

    None unless the year is in it.
    """
    parts = _BEGINNING.fullmatch(beginning)
    if not parts:
        return None
    digits = re.sub("[^0-9]", "", parts[2])[:14]
    known = max(length for length in _UNITS if length <= len(digits))
    numbers = [int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, known, 2)), 1, 1]
    try:
        since = datetime(*numbers[: max(known // 2 - 1, 3)], tzinfo=UTC)  # type: ignore[arg-type, misc]  # at most six
        return parts[1], since, since + _UNITS[known]
    except (ValueError, OverflowError):
        return None
