"""A quota's limits, and how its permits stand on record beside those that other processes have out."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from adsyncd.clock import Clock
from adsyncd.limits import Limits, Numbers, cools_for
from adsyncd.permit import Claim, PermitRecord
from adsyncd.tenant import Quota, Shape, Window

_RECORDED_WITHIN_S = 5.0
_PACE_MS = 0  # stands in the place of a window's length for the one permit that spaces requests
_ROUNDING_S = 1e-6  # two clocks' numbers are not the same to the last bit


class Account:
    """The quota of one client id or, with an empty one, of a platform.

    `records`: what other processes had out, with requests that take `timeout` at most.
    """

    def __init__(
        self,
        platform: str,
        client_id: str,
        quota: Quota,
        records: Iterable[PermitRecord],
        clock: Clock,
        owner: str,
        timeout: timedelta,
    ) -> None:
        self.platform = platform
        self.client_id = client_id
        self.quota = quota
        self._clock = clock
        self._owner = owner
        self._in_flight_s = _RECORDED_WITHIN_S + timeout.total_seconds()  # at most, from when it is on record
        self._window_ms = _lengths(quota)
        self._seen: dict[tuple[int, int], tuple[PermitRecord, float]] = {}  # and from when on it is past, as it is
        self._passing: deque[tuple[float, PermitRecord]] = deque()  # that nobody renews, and when all are known as past
        records = list(records)
        quiet_until = self._quiet_until(records)
        self.limits = Limits(quota, paced=quota.shape is Shape.PACED, quiet_until=quiet_until)
        self._passing.extend((quiet_until, record) for record in records if self._is_gone(record))
        self.learn(records)

    def change(self, quota: Quota, now: float) -> None:
        """Take over another quota at once."""
        if quota != self.quota:
            self.limits.change(quota, now)
            self.quota = quota
            self._window_ms = _lengths(quota)
            self.limits.pace(paced=quota.shape is Shape.PACED)
            self._seen.clear()  # the buckets may be others

    def claims(self, numbers: Numbers, timeout_s: float) -> list[Claim]:
        """Return what has to be on record before a request leaves that ends within `timeout_s`.

        It holds if it is on record within `_RECORDED_WITHIN_S` from now.
        """
        now = self._clock.since_boot()
        last_s = now + _RECORDED_WITHIN_S + timeout_s  # of the request
        claims = [
            self._claim(length, number, last_s + bucket.cools_for, now)
            for length, number, bucket in zip(self._window_ms, numbers, self.limits.buckets, strict=False)
        ]
        if self.limits.paced:
            claims.append(self._claim(_PACE_MS, 0, now + self.limits.space_s, now))
        return claims

    def holds(self, claims: Sequence[Claim]) -> bool:
        """Say whether claims that are on record by now were put there in time."""
        return all(self._clock.since_boot() <= claim.at + _RECORDED_WITHIN_S for claim in claims)

    def notes(self, claims: Sequence[Claim], cools_since: float | None) -> list[Claim]:
        """Return what goes on record of permits that are back: they cool since then, or are free at once."""
        now = self._clock.since_boot()
        since = None if cools_since is None else now - (self._clock.monotonic() - cools_since)
        buckets = dict(zip(self._window_ms, self.limits.buckets, strict=True))
        return [
            self._claim(length, claim.record.number, now if since is None else since + buckets[length].cools_for, now)
            for claim in claims
            if (length := claim.record.window_ms) in buckets
        ]

    def learn(self, records: Iterable[PermitRecord]) -> None:
        """Take note of what other processes have out."""
        now, since_boot = self._clock.monotonic(), self._clock.since_boot()
        places = {length: index for index, length in enumerate(self._window_ms)}
        for record in records:
            whose, key = (record.platform, record.client_id), (record.window_ms, record.number)
            if record.owner == self._owner or whose != (self.platform, self.client_id):
                continue
            if record.window_ms == _PACE_MS:
                known = record.boot_id == self._clock.boot_id
                self.limits.rest(now + (record.free_at - since_boot + _ROUNDING_S if known else self.limits.space_s))
                if not known:
                    self._seen[key] = record, now
                continue
            if record.window_ms not in places or self._seen.get(key, (None,))[0] == record:
                continue
            bucket = self.limits.buckets[places[record.window_ms]]
            if record.boot_id == self._clock.boot_id:
                self._seen[key] = record, math.inf  # its own time tells
                if record.free_at > since_boot:
                    bucket.taken_elsewhere(record.number, now + record.free_at - since_boot + _ROUNDING_S)
            else:
                # When it was on another machine, or before a reboot, can't be told from any clock: it is past when it
                # has stayed as it is for as long as a request may take from now, and a whole window.
                past_at = now + self._in_flight_s + bucket.cools_for
                self._seen[key] = record, past_at
                bucket.taken_elsewhere(record.number, past_at)
                self._passing.append((past_at, record))

    def past(self) -> list[PermitRecord]:
        """Return, once, records of which only having waited tells that they are past: a restart would wait anew."""
        now, past = self._clock.monotonic(), []
        while self._passing and self._passing[0][0] <= now:
            past.append(self._passing.popleft()[1])
        return past

    def _is_gone(self, record: PermitRecord) -> bool:
        """Say whether a record is of a window that the quota has no longer."""
        return record.client_id == self.client_id and record.window_ms not in (_PACE_MS, *self._window_ms)

    def _claim(self, window_ms: int, number: int, free_at: float, now: float) -> Claim:
        record = PermitRecord(
            self.platform, self.client_id, window_ms, number, free_at, self._clock.boot_id, self._owner
        )
        seen, past_at = self._seen.get((window_ms, number), (None, math.inf))
        return Claim(record, now, seen if past_at <= self._clock.monotonic() else None)

    def _quiet_until(self, records: Sequence[PermitRecord]) -> float:
        """Return the instant from which on all that was sent is known to today's windows.

        What was counted in a window that the quota has no longer, or when it had not yet one that it has now, may have
        been more within today's than is on record of them: there is no grant before the last of it is out of them.
        """
        recorded = {record.window_ms for record in records if record.client_id == self.client_id}
        unknown = [window for window in self.quota.windows if _ms(window) not in recorded]
        quiet_s = 0.0
        for record in records:
            if record.window_ms == _PACE_MS:
                continue
            gone = record.window_ms not in self._window_ms
            for window in self.quota.windows if gone else unknown:
                longer_s = max(0.0, cools_for(window) - _cooled_s(record))
                quiet_s = max(quiet_s, self._left_s(record) + longer_s)
        return self._clock.monotonic() + quiet_s if quiet_s else 0.0

    def _left_s(self, record: PermitRecord) -> float:
        """Return for how many seconds a permit on record cools yet."""
        if record.boot_id != self._clock.boot_id:
            return self._in_flight_s + _cooled_s(record)
        return record.free_at - self._clock.since_boot()


def by_account(records: Iterable[PermitRecord]) -> Mapping[tuple[str, str], list[PermitRecord]]:
    """Sort records by platform and client id."""
    found: dict[tuple[str, str], list[PermitRecord]] = {}
    for record in records:
        found.setdefault((record.platform, record.client_id), []).append(record)
    return found


def _lengths(quota: Quota) -> tuple[int, ...]:
    return tuple(_ms(window) for window in quota.windows)


def _ms(window: Window) -> int:
    return round(window.per.total_seconds() * 1000)


def _cooled_s(record: PermitRecord) -> float:
    return cools_for(Window(1, timedelta(milliseconds=record.window_ms)))
