"""Where a run stands: its counts, the evidence of its listing, and the outcome that follows from both.

Decided from values alone. A run succeeds only if the listing came to its end and every campaign in it is accounted for;
the total that the platform claims is no evidence of either.
"""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime

from adsyncd.errors import ListingError
from adsyncd.model.campaign import Oddities, Page, Push, PushState, shown
from adsyncd.model.run import CANCELLED, Listing, Outcome, ResumePoint, Run, Tally
from adsyncd.model.status import counted, were
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.deletion import Missing

_BARREN_PAGES = 10  # in a row that bring nothing new, and announce more, end a listing
_TOO_MANY = 10  # times what the platform names in all, and as many pages, have no end
_MOST_LISTED = 1_000_000
_COUNTS = [field.name for field in fields(Tally) if field.name in Run.__slots__]
_RESUMED = ("listed", "pushed", "skipped", "stored", "dead_lettered", "failed", "requests", "retries")


class RunCounts:
    """The progress of one run from its resume point on. It adds to `tally`, which others may watch."""

    def __init__(self, point: ResumePoint, tally: Tally, page_size: int) -> None:
        self._point = point
        self._tally = tally
        self._page_size = page_size
        self._evidence: Listing | None = None  # set when the listing has come to its end
        self._claimed = point.announced  # the largest total that a page named
        self._odd, self._lacking = Oddities(), Oddities()
        self._moved: str | None = None  # a campaign that was on two pages
        self._barren = 0  # pages in a row without a new campaign
        self._is_anew = False  # an earlier life of the run listed some of it
        self._again = set[str]()  # campaigns that an earlier life listed, and this one as well
        self._first_failure: str | None = None
        for name in _RESUMED:
            setattr(tally, name, getattr(point.tally, name))
        # Both count the ticks that were skipped since this life of the run began.
        tally.skipped_ticks = max(tally.skipped_ticks, point.tally.skipped_ticks)
        tally.announced = tally.listed if point.complete else max(self._claimed, tally.listed)

    def add_page(self, page: Page, fresh: list[Push]) -> None:
        """Count a page and the campaigns in it that are new to the run."""
        tally, new = self._tally, {push.campaign_id for push in fresh}
        tally.listed += len(fresh)
        tally.skipped += sum(push.state is PushState.SKIPPED for push in fresh)
        tally.stored += sum(push.state is PushState.STORED for push in fresh)
        tally.dead_lettered += sum(push.state is PushState.DEAD_LETTERED for push in fresh)
        self._claimed = max(self._claimed, page.total or 0)
        self._odd += page.odd
        self._lacking += page.lacking
        again = [each.id for each in page.campaigns if each.id not in new]
        if again and not self._is_anew:
            self._moved = self._moved or again[0]
        is_news = bool(fresh) or (self._is_resumed and not self._again.issuperset(again))
        if is_news and self._is_resumed:
            self._again.update(again)
        self._barren = 0 if is_news else self._barren + 1
        tally.announced = max(self._claimed, tally.listed)

    def begin_anew(self) -> None:
        """Note that the listing begins at its first page again. What an earlier life listed comes once more."""
        self._is_anew = True

    def end_listing(self, last: Page) -> None:
        """Note that the listing has come to its end."""
        self._evidence = Listing.KEPT if last.listed_at else Listing.COMPLETE
        self._tally.announced = self._tally.listed

    def check_end(self, number: int) -> None:
        """Raise ListingError if the listing seems endless after page `number`."""
        if self._barren >= _BARREN_PAGES:
            raise ListingError(
                f"pages {number - self._barren + 1} to {number} bring nothing new, and more is still announced"
            )
        listed, most = self._tally.listed, _TOO_MANY * (self._claimed + self._page_size)
        if (self._claimed and listed > most) or listed > _MOST_LISTED:
            named = f" of the {self._claimed} that it names in all" if self._claimed else ""
            raise ListingError(f"after {counted(listed, 'campaign')}{named}, the platform still announces more")

    def add_push(self, push: Push) -> None:
        """Count a settled push."""
        if push.state is PushState.PUSHED:
            self._tally.pushed += 1
            return
        if push.state is PushState.STORED:
            self._tally.stored += 1
            return
        if push.state is PushState.DEAD_LETTERED:
            self._tally.dead_lettered += 1
        else:
            self._tally.failed += 1
        self._first_failure = self._first_failure or push.error

    @property
    def lists_all(self) -> bool:
        """Whether the listing is complete and of one piece, so that a campaign that is not in it is missing."""
        return self._listing is Listing.COMPLETE

    @property
    def _is_resumed(self) -> bool:
        return self._point.next_page > 1

    @property
    def _listing(self) -> Listing | None:
        # Between the pages of a listing that was cut off, campaigns may have moved from one to another.
        pieced = self._is_resumed or self._moved or self._odd.lost
        return None if pieced else self._evidence

    def ended(
        self, run: Run, now: datetime, failure: tuple[Outcome, str | None] | None, missing: tuple[int, int] | None
    ) -> Run:
        """Return the record of a run that ended now.

        `failure`: the outcome and error if it was cut short; an operator's cancellation is no error. `missing`: of a
        run that `lists_all`, how many campaigns the listing misses, and how many of them the last complete listing
        missed, too. Campaigns whose push is not settled count as failed.
        """
        listing, gap = self._listing, None
        if missing:
            lost = Missing(self._point.live, self._point.missed, *missing)
            if lost.collapsed:
                listing = Listing.COLLAPSED
                are = "is" if lost.live == 1 else "are"
                gap = f"{lost.now} of {counted(lost.live, 'campaign')} {are} missing from the listing"
        outcome, error = failure or self._judge(gap)
        record, untried = self._record(run), self._tally.listed - self._tally.settled
        return replace(
            record,
            outcome=outcome,
            error=error,
            failed=record.failed + untried,
            untried=untried,
            ended_at=max(now, run.started_at),  # though the clock was set back
            note=self._note(was_cancelled=outcome is Outcome.ABANDONED and error is None),
            listing=listing,
        )

    def left_open(self, run: Run, error: str) -> Run:
        """Return the record of a run that is to be resumed."""
        return replace(self._record(run), error=error)

    def _judge(self, gap: str | None) -> tuple[Outcome, str | None]:
        """Return the outcome of a run that did all that it was to do, and all that is wrong with it."""
        wrong = []
        if lost := self._tally.failed + self._tally.dead_lettered:
            reason = f", the first because {self._first_failure}" if self._first_failure else ""
            listed = self._tally.listed
            wrong.append(f"{lost} of {counted(listed, 'campaign')} {were(listed)} not pushed{reason}")
        if odd := self._point.odd or str(self._odd):
            wrong.append(f"not all can be read: {odd}")
        if gap:
            wrong.append(f"{gap}: none is marked deleted unless the next listing agrees")
        return (Outcome.PARTIAL, "; ".join(wrong)) if wrong else (Outcome.SUCCEEDED, None)

    def _note(self, *, was_cancelled: bool) -> str | None:
        """Return what is remarkable and no fault of the run."""
        notes = [CANCELLED] if was_cancelled else []
        listed = self._tally.listed + self._odd.lost
        if self._evidence is Listing.COMPLETE and self._claimed not in {0, listed}:
            notes.append(f"the platform named {counted(self._claimed, 'campaign')} in all and listed {listed}")
        if self._moved and self._evidence is not Listing.KEPT:  # which has one page, of which a crash left a part
            notes.append(f"{shown(self._moved)} was on two pages, so that another may have been on none")
        if self._lacking.count:
            notes.append(str(self._lacking))
        return "; ".join(notes) or None

    def _record(self, run: Run) -> Run:
        counts = {name: getattr(self._tally, name) for name in _COUNTS}
        counts["waits"] = {reason: ms / 1000 for reason, ms in self._waits_ms() if ms}
        return replace(run, **counts)

    def _waits_ms(self) -> Iterator[tuple[WaitReason, int]]:
        """Yield the run's waits, rounded down, so that their sum is never longer than the run."""
        for reason, waited_s in self._tally.waits_so_far().items():
            yield reason, math.floor(waited_s * 1000)
