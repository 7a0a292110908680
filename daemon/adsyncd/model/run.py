"""One run of one tenant: its name, its counts while it goes, and its record when it is over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from adsyncd.model.campaign import Push
from adsyncd.rate.wait import WaitReason


class Outcome(StrEnum):
    """How a run ended.

    `SUCCEEDED`: the listing came to its end and every campaign was pushed or skipped. `PARTIAL`: some campaigns were
    not, or could not be read, or the listing collapsed. `FAILED`: it could not list them. `ABANDONED`: it ran out of
    time.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Listing(StrEnum):
    """What a run's listing says of the campaigns that are not in it. One that is pieced together says nothing.

    `COMPLETE`: all pages, in one go. `COLLAPSED`: that, too, but more than half of the campaigns are missing, and the
    listing before does not agree. `KEPT`: that of an earlier run, which was used again.
    """

    COMPLETE = "complete"
    COLLAPSED = "collapsed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait that is under way; `until` is when it will be over, if that is known.

    `detail`: whose breaker it is and why, or after which failure it came to this.
    """

    reason: WaitReason
    until: datetime | None = None
    detail: str = ""

    def __str__(self) -> str:
        """Name it in words that fit behind "waiting for the"."""
        link = "of" if self.reason is WaitReason.BREAKER else "after"
        return f"{self.reason} {link} {self.detail}" if self.detail else str(self.reason)


@dataclass(slots=True)
class Tally:
    """A run's counts, added to while it goes: distinct campaigns, and the requests that they took.

    `requests` are all metered requests sent, `retries` those of them that repeat one that failed, `refused` the
    429s among the answers; `waited_s` is the time in which at least one request waited for quota, in seconds.
    `announced`: the most campaigns that a page named in all; once all are listed, how many. `waits`: those that are
    under way now, oldest first. `cut_short`: what was waited for when the run was cancelled.
    """

    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    announced: int = 0
    waits: dict[int, Wait] = field(default_factory=dict)
    cut_short: Wait | None = None
    _begun: int = 0

    @contextmanager
    def waiting(
        self, reason: WaitReason, until: datetime | None = None, detail: str = ""
    ) -> Iterator[Callable[[Wait], None]]:
        """Count as waiting while the body goes on; what is yielded takes what became of that wait."""
        number = self._begun = self._begun + 1
        self.waits[number] = Wait(reason, until, detail)
        try:
            yield lambda wait: self.waits.__setitem__(number, wait)
        except BaseException as error:
            if not isinstance(error, Exception):  # cancelled
                self.cut_short = self.cut_short or next(iter(self.waits.values()))
            raise
        finally:
            del self.waits[number]

    def wait(self, now: datetime) -> Wait | None:
        """Say what the run waits for: of the waits that are under way, the one that is over first as far as is known.

        Who stands in line behind others hears nothing new until he is the first, so what he was told may be over.
        """
        by_end = {wait.until: wait for wait in reversed(self.waits.values()) if wait.until and wait.until > now}
        return by_end[min(by_end)] if by_end else next(iter(self.waits.values()), None)

    @property
    def settled(self) -> int:
        """Campaigns whose outcome is known."""
        return self.pushed + self.skipped + self.dead_lettered + self.failed


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is recorded. While it goes, `ended_at` and `outcome` are None.

    `note`: what is remarkable and no error. `listing`: what it says of campaigns that are not in it, if anything.
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
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    error: str | None = None
    note: str | None = None
    listing: Listing | None = None


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run starts or resumes: page 1 with nothing owed, or the state that an unclean end left.

    `complete`: its last page is listed. `owed`: the pushes whose outcome is not known. `tally`: the counts so far, as
    far as the store knows them. `announced`: the most campaigns that a page named in all. `odd`: the odd items that it
    listed, in words. `source`: the listing that its first page belongs to. At its beginning the tenant has `live`
    campaigns that are not marked deleted, of which the last complete listing `missed` some.
    """

    started_at: datetime
    next_page: int
    complete: bool
    owed: tuple[Push, ...]
    tally: Tally
    announced: int = 0
    odd: str | None = None
    source: str | None = None
    live: int = 0
    missed: int = 0


def whole_ms(instant: datetime) -> datetime:
    """Cut to the millisecond, in which runs are named."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def run_id(tenant_id: str, fire_time: datetime) -> str:
    """Return the name of a tenant's run for a fire time: `acme-20261125T101500.000Z`, one for one."""
    stamp = fire_time.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{tenant_id}-{stamp}Z"
