"""The last 24 hours of all tenants, in memory: a mark, a wait and the 429s of each half hour.

The columns of a half hour are arrays with a place for each tenant, so a tenant costs some 500 bytes. A half hour is
replaced as a whole when it is read again.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from adsyncd.control.overview import Bucket, Mark
from adsyncd.model.half_hour import HALF_HOUR, HALF_HOURS, HalfHour, half_hour_of, start_of

_HOUR_S = 3600.0
_RECENT = 3  # half hours that an hour may be in
_SUMS = tuple(field.name for field in fields(Bucket) if field.name != "at")
_FULL = 2**16 - 1  # 429s of a tenant in half an hour: more are counted as so many


@dataclass(slots=True)
class _Columns:
    """One half hour: by the tenants' places, and in all. `open`: it has runs that have not ended."""

    total: Bucket
    marks: bytearray
    waited_s: "array[float]"
    refused: "array[int]"
    requests: "array[int]"
    open: bool


class LastDay:
    """Half hours by their number. Those outside of the last day are dropped, wherever the clock was put."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._columns: dict[int, _Columns] = {}
        self._next_open = 0

    def wanted(self, now: datetime) -> list[int]:
        """Return the half hours to be read now, the latest first.

        These are those that have never been read, those of the last hour, and in turn one older with open runs.
        """
        latest = half_hour_of(now)
        window = range(latest, latest - HALF_HOURS, -1)
        for number in [number for number in self._columns if number not in window]:
            del self._columns[number]
        for number in self._columns.keys() - set(window[:_RECENT]):
            self._columns[number].requests = array("I")  # of the last hour alone
        fresh = [number for number in window if number not in self._columns or number > latest - _RECENT]
        still_open = [number for number in window if number not in fresh and self._columns[number].open]
        if still_open:
            self._next_open += 1
            fresh.append(still_open[self._next_open % len(still_open)])
        return fresh

    def put(self, number: int, found: Iterable[HalfHour]) -> None:
        """Take the runs of a half hour, in place of what was known of it."""
        rows = [(self._places.setdefault(one.tenant, len(self._places)), one) for one in found]
        size = max((place for place, _ in rows), default=-1) + 1
        sums = dict.fromkeys(_SUMS, 0.0)
        columns = _Columns(
            Bucket(start_of(number)),
            bytearray(size),
            array("f", bytes(4 * size)),
            array("H", bytes(2 * size)),
            array("I", bytes(4 * size)),
            open=any(one.open for _, one in rows),
        )
        for place, one in rows:
            columns.marks[place] = _mark(one)
            columns.waited_s[place] = one.waited_s
            columns.refused[place] = min(one.refused, _FULL)
            columns.requests[place] = min(one.requests, 2**32 - 1)
            for name in _SUMS:
                sums[name] += getattr(one, name)
        waited_s = sums.pop("waited_s")
        counts = {name: int(number) for name, number in sums.items()}
        columns.total = Bucket(start_of(number), waited_s=waited_s, **counts)
        self._columns[number] = columns

    def marks(self, tenant_id: str, now: datetime) -> list[Mark]:
        """Return a tenant's marks, oldest first."""
        place, latest = self._places.get(tenant_id), half_hour_of(now)
        return [
            Mark(columns.marks[place])
            if place is not None and (columns := self._columns.get(number)) and place < len(columns.marks)
            else Mark.NOTHING
            for number in range(latest - HALF_HOURS + 1, latest + 1)
        ]

    def sums(self, tenant_id: str) -> tuple[float, int]:
        """Return for how many seconds a tenant's runs waited for quota, and how many 429s they got."""
        place = self._places.get(tenant_id)
        if place is None:
            return 0.0, 0
        known = [columns for columns in self._columns.values() if place < len(columns.marks)]
        return sum(columns.waited_s[place] for columns in known), sum(columns.refused[place] for columns in known)

    def requests(self, tenant_id: str, now: datetime) -> float:
        """Return how many requests a tenant's ended runs of the last hour sent; a part of the half hour it began in."""
        place, latest = self._places.get(tenant_id), half_hour_of(now)
        elapsed = (now - start_of(latest)) / HALF_HOUR
        shares = {latest: 1.0, latest - 1: 1.0, latest - 2: 1.0 - elapsed}
        return sum(
            share * columns.requests[place]
            for number, share in shares.items()
            if place is not None and (columns := self._columns.get(number)) and place < len(columns.requests)
        )

    def history(self, since: datetime, span: timedelta, now: datetime) -> list[Bucket]:
        """Return the sums of all tenants in each `span`, a multiple of half an hour, of the last day; oldest first.

        The first has `since`, or the beginning of the last day.
        """
        latest, each = half_hour_of(now), max(1, span // HALF_HOUR)
        first = max(latest - HALF_HOURS + 1, half_hour_of(since))
        found = []
        for start in range(first - first % each, latest + 1, each):
            known = [columns.total for number in range(start, start + each) if (columns := self._columns.get(number))]
            sums = {name: sum(getattr(total, name) for total in known) for name in _SUMS}
            found.append(Bucket(start_of(start), **sums))
        return found


def _mark(one: HalfHour) -> Mark:
    if one.runs_failed or one.runs_abandoned:
        return Mark.FAILED
    if one.runs_partial:
        return Mark.PARTIAL
    if one.skipped_ticks:
        return Mark.LATE
    return Mark.SUCCEEDED if one.runs_succeeded else Mark.NOTHING
