"""A quota's limiter and the records of its permits, its own and those of other processes."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from adsyncd.clock import Clock
from adsyncd.rate.bucket import Bucket, cooling_s
from adsyncd.rate.carryover import Sent, carry_over
from adsyncd.rate.hand import Hand
from adsyncd.rate.ledger import Claim, PermitLedger, PermitRecord
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.wait import WaitReason

_RECORDED_WITHIN_S = 5.0
_PACE_MS = 0  # in the place of a window's length: the record of the one permit that spaces requests
_ROUNDING_S = 1e-6  # numbers of two clocks differ in the last bits
_SAME_S = 0.001  # records whose times differ by less may belong to one request
_LOOKS_AGAIN_S = 1.0  # at the earliest, for what another process has in flight


@dataclass(frozen=True, slots=True)
class Known:
    """A record, and the monotonic instant since which this process knows it.

    `in_force_at`: by then, every request that counts in its window was on record there; None if unknown. `before`:
    since when the permit was free before our record took it. `out`: its request is in flight.
    """

    record: PermitRecord
    seen_at: float
    in_force_at: float | None = None
    before: float = 0.0
    out: bool = False


class Account:
    """The quota of one client id or, if that is empty, of a platform.

    `records`: permits of other processes, whose requests take `timeout` and cost `largest` at most. `sent`: other
    requests that count here, as the accounts of a platform's client ids know them.
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
        sent: Iterable[Known] = (),
        largest: int = 1,
    ) -> None:
        self.platform = platform
        self.client_id = client_id
        self.quota = quota
        spent = WaitReason.QUOTA if client_id else WaitReason.PLATFORM_QUOTA
        self.limiter = Limiter(quota, paced=quota.shape is Shape.PACED, spent=spent, largest=largest)
        self.hand = Hand(self.limiter, clock, lambda claims: self.notes((), claims, None))
        self._clock = clock
        self._owner = owner
        self._in_flight_s = _RECORDED_WITHIN_S + timeout.total_seconds()  # at most, from its record on
        self._known: dict[tuple[int, int], Known] = {}
        self._sent = tuple(sent)
        self._unrecorded: dict[tuple[int, int], PermitRecord] = {}  # carried over from other quotas
        self._passing: deque[tuple[float, PermitRecord]] = (
            deque()
        )  # records that no process renews, and when each is past for sure
        self.look_at: float | None = None  # when to read the records again; None if no wait depends on it
        self.learn(records)
        self._carry_over(self.limiter.buckets, self.sent())

    def change(self, quota: Quota) -> None:
        """Adopt another quota at once. Spent permits stay spent, and no request counts for less than it may."""
        if quota == self.quota:
            return
        self.quota = quota
        sent = self.sent()
        cooling: dict[int, dict[int, float]] = {}
        for known in [known for known in sent if not known.out]:
            cooling.setdefault(known.record.window_ms, {})[known.record.number] = self._free_at(known)
        new = self.limiter.change(quota, cooling)
        lengths = {bucket.length_ms for bucket in self.limiter.buckets}
        self._unrecorded = {key: record for key, record in self._unrecorded.items() if key[0] in lengths}
        self._carry_over(new, sent)
        self.limiter.pace(paced=quota.shape is Shape.PACED)

    def expect(self, timeout: timedelta, largest: int = 1) -> None:
        """Expect requests of other processes to take so long, and requests to cost so much."""
        self.limiter.expect(largest)
        in_flight_s = _RECORDED_WITHIN_S + timeout.total_seconds()
        if in_flight_s <= self._in_flight_s:
            return
        self._in_flight_s = in_flight_s
        self._passing = deque(passing for passing in self._passing if passing[1].boot_id == self._clock.boot_id)
        for known in self._known.values():
            if known.record.boot_id != self._clock.boot_id and known.record.window_ms != _PACE_MS:
                self._take_note(known)
        buckets = {bucket.length_ms: bucket for bucket in self.limiter.buckets}
        for length_ms, number in self._unrecorded:
            buckets[length_ms].forget(number)
        self._unrecorded.clear()
        self._carry_over(self.limiter.buckets, self.sent())

    @property
    def is_changed(self) -> bool:
        """Whether requests are on record, but none in one of the quota's windows."""
        recorded = {length_ms for length_ms, _ in self._known}
        return bool(recorded or self._sent) and any(bucket.length_ms not in recorded for bucket in self.limiter.buckets)

    def is_quiet(self) -> bool:
        """Return whether nothing may be sent because unknown requests may count in the quota."""
        return self.limiter.quiet_until > self._clock.monotonic()

    def claims(self, numbers: Numbers, timeout_s: float) -> list[Claim]:
        """Return the claims to record before a request is sent that ends within `timeout_s`.

        They hold if they are on record within `_RECORDED_WITHIN_S` from now.
        """
        now = self._clock.since_boot()
        last_s = now + _RECORDED_WITHIN_S + timeout_s  # the end of the request
        claims = [
            self._claim(bucket.length_ms, number, last_s + bucket.cools_for, now)
            for bucket, number in self.limiter.placed(numbers)
        ]
        if self.limiter.paced:
            space_s = self.limiter.space_after(self.limiter.cost(numbers))
            claims.append(self._claim(_PACE_MS, 0, now + space_s, now))
        return claims

    def claims_ahead(self, count: int, timeout_s: float) -> list[Claim]:
        """Return the claims of so many permits that no request has yet, to be recorded with those of one that has.

        None of them was another process's last: it could refuse the claims of the request.
        """
        blocks = [self.claims(numbers, timeout_s) for numbers in self.hand.reserve(count)]
        return [claim for block in blocks if all(map(self._is_own, block)) for claim in block]

    def ahead(self, numbers: Numbers, timeout_s: float) -> list[Claim]:
        """Return the claims that are on record already; none if something is to be written before the request."""
        claims = self.hand.take(numbers, timeout_s)
        return [] if self._unrecorded or self.limiter.paced or self.is_quiet() else claims

    def unrecorded(self) -> list[Claim]:
        """Return the claims of earlier requests, sent under other quotas, that count in this one."""
        now = self._clock.since_boot()
        return [Claim(record, now) for record in self._unrecorded.values()]

    def recorded(self, claims: Iterable[Claim]) -> None:
        """Learn that claims are on record."""
        now, since_boot = self._clock.monotonic(), self._clock.since_boot()
        for claim in claims:
            key = claim.record.window_ms, claim.record.number
            carried = self._unrecorded.pop(key, None) is not None
            claimed_at = now - since_boot + claim.at
            self._known[key] = Known(
                claim.record, claimed_at, None if carried else claimed_at, self._free_before(key, claim.at)
            )

    def holds(self, claims: Sequence[Claim]) -> bool:
        """Return whether claims that are on record by now came in time."""
        return all(self._clock.since_boot() <= claim.at + _RECORDED_WITHIN_S for claim in claims)

    def notes(self, numbers: Sequence[int], claims: Sequence[Claim], cools_since: float | None) -> list[Claim]:
        """Return the records of permits that are back: they cool since `cools_since`, or are free at once if None.

        `claims`: the claims from before the request was sent. `numbers`: the permits in the windows as they are now.
        """
        now = self._clock.since_boot()
        since = None if cools_since is None else cools_since + now - self._clock.monotonic()
        notes = []
        for claim in claims:
            key = length_ms, number = claim.record.window_ms, claim.record.number
            if length_ms == _PACE_MS:
                continue
            known = self._known.get(key)
            before = known.before if known and known.record == claim.record else 0.0
            notes.append(self._claim(length_ms, number, before if since is None else since + cooling_s(length_ms), now))
            in_force_at = self._clock.monotonic() - now + claim.at
            self._known[key] = Known(notes[-1].record, in_force_at, in_force_at, before)
        if since is None:
            return notes
        claimed = {claim.record.window_ms for claim in claims}
        for bucket, number in self.limiter.placed(numbers):
            if bucket.length_ms not in claimed:
                free_at = since + bucket.cools_for
                self._unrecorded[bucket.length_ms, number] = self._record(bucket.length_ms, number, free_at)
        return notes

    def learn(self, records: Iterable[PermitRecord]) -> None:
        """Learn of permits that other processes have: all that are on record.

        A request in flight is on record until the last instant at which it can be over. Nobody tells this process of
        its answer, so the records are to be read again, at `look_at`: soon, in case it never left, then more rarely,
        but twice in a window, since then its permit's return is known before it is free.
        """
        now, since_boot, longest_s = self._clock.monotonic(), self._clock.since_boot(), self.limiter.longest_space_s
        lengths, looks = {bucket.length_ms for bucket in self.limiter.buckets}, list[float]()
        for record in records:
            whose, key = (record.platform, record.client_id), (record.window_ms, record.number)
            if record.owner == self._owner or whose != (self.platform, self.client_id):
                continue
            ours = record.boot_id == self._clock.boot_id
            if record.window_ms == _PACE_MS:
                self.limiter.rest(now + (record.free_at - since_boot + _ROUNDING_S if ours else longest_s))
            known = self._known.get(key)
            if known and known.record.owner == self._owner and known.record.free_at > since_boot:
                continue  # it was read before this process took the permit
            if known is None or known.record != record:
                known = self._known[key] = Known(record, now)
                if record.window_ms != _PACE_MS:
                    self._take_note(known)
            cools_for = cooling_s(record.window_ms)
            if ours and record.window_ms in lengths and record.free_at > since_boot + cools_for:
                looks.append(now + min(cools_for / 2, max(_LOOKS_AGAIN_S, now - known.seen_at)))
        self.look_at = min(looks, default=None)

    async def look_again(self, ledger: PermitLedger) -> None:
        """Learn what other processes have by now, if it is time for that."""
        now = self._clock.monotonic()
        if self.look_at is not None and self.look_at <= now:
            self.look_at = now + _LOOKS_AGAIN_S  # nobody else need look meanwhile
            self.learn(await ledger.read_permits(self.platform, self.client_id))

    def past(self) -> list[PermitRecord]:
        """Return, once, the records that no process renews and that no longer matter."""
        now, past = self._clock.monotonic(), []
        while self._passing and self._passing[0][0] <= now:
            past.append(self._passing.popleft()[1])
        return past

    def sent(self) -> list[Known]:
        """Return everything known of requests. Permits in hand, which are those of none, are given back."""
        self.hand.give_back()
        out = {bucket.length_ms: bucket.out for bucket in self.limiter.buckets}
        now = self._clock.since_boot()
        recorded = [
            replace(known, out=True)
            if number in out.get(length_ms, ()) and known.record.owner == self._owner and known.record.free_at > now
            else known
            for (length_ms, number), known in self._known.items()
            if length_ms != _PACE_MS
        ]
        return recorded + [Known(record, 0.0, -math.inf) for record in self._unrecorded.values()]

    def _take_note(self, known: Known) -> None:
        """Let a permit cool that another process has."""
        record, free_at = known.record, self._free_at(known)
        bucket = next((bucket for bucket in self.limiter.buckets if bucket.length_ms == record.window_ms), None)
        if record.boot_id != self._clock.boot_id:
            # No clock tells when a record of another machine, or from before a reboot, was written. It is past once it
            # has stayed unchanged since it was seen for as long as a request may take plus a whole window.
            cools_for = cooling_s(record.window_ms)
            self._passing.append(
                (free_at - cools_for + (bucket.cools_for if bucket else self.limiter.longest_s), record)
            )
        elif bucket is None:
            self._passing.append((free_at, record))
        if bucket is not None and free_at > self._clock.monotonic():
            self._make_way(bucket, record)
            bucket.taken_elsewhere(record.number, free_at)
        elif bucket is not None and (bucket.length_ms, record.number) not in self._unrecorded:
            bucket.forget(record.number)  # its request never left

    def _make_way(self, bucket: Bucket, record: PermitRecord) -> None:
        """Move a carried-over permit out of the way of another process's record, or drop it if it is of one request."""
        mine = {key: carried for key, carried in self._unrecorded.items() if key[0] == bucket.length_ms}
        for key, carried in mine.items():
            if abs(carried.free_at - record.free_at) < _SAME_S:
                del self._unrecorded[key]
                bucket.forget(carried.number)
                return
        key = bucket.length_ms, record.number
        if key in self._unrecorded:
            carried = self._unrecorded.pop(key)
            self._count(bucket, self._clock.monotonic() - self._clock.since_boot() + carried.free_at - bucket.cools_for)

    def _carry_over(self, buckets: Iterable[Bucket], known: Iterable[Known]) -> None:
        """Count requests of other quotas in new windows, or wait until unknown ones have left them."""
        now, longest_s = self._clock.monotonic(), self.limiter.longest_s
        sent = [self._as_sent(one) for one in (*self._sent, *known) if self._counted_by(one) + longest_s > now]
        for bucket in buckets:
            missing, quiet_until = carry_over(sent, self.client_id, bucket.length_ms, now)
            for since in missing:
                self._count(bucket, since)
            bucket.quiet_until = quiet_until
        self.limiter.heed_quiet()

    def _count(self, bucket: Bucket, since: float) -> None:
        """Count a request that has no record in this window yet."""
        number = bucket.count(since)
        free_at = self._clock.since_boot() - self._clock.monotonic() + since + bucket.cools_for
        self._unrecorded[bucket.length_ms, number] = self._record(bucket.length_ms, number, free_at)

    def _as_sent(self, known: Known) -> Sent:
        record, since = known.record, self._counted_by(known)
        at = record.free_at - cooling_s(record.window_ms)
        in_force_at = at - self._in_flight_s
        if known.in_force_at is not None:
            in_force_at = self._clock.since_boot() - self._clock.monotonic() + known.in_force_at
            if known.out:
                at, since = in_force_at, known.in_force_at
        return Sent(record.client_id, record.window_ms, record.boot_id, at, in_force_at, since, known.out)

    def _counted_by(self, known: Known) -> float:
        """Return the monotonic instant by which a request on record was counted."""
        return self._free_at(known) - cooling_s(known.record.window_ms)

    def _free_at(self, known: Known) -> float:
        """Return the monotonic instant at which a permit on record is free."""
        if known.record.window_ms == _PACE_MS:
            return known.seen_at  # the limiter rests for as long as it takes
        if known.record.boot_id != self._clock.boot_id:
            return known.seen_at + self._in_flight_s + cooling_s(known.record.window_ms)
        return self._clock.monotonic() + known.record.free_at - self._clock.since_boot() + _ROUNDING_S

    def _free_before(self, key: tuple[int, int], now: float) -> float:
        """Return since when a permit was free before our record; a refund makes it so again."""
        known = self._known.get(key)
        if known is None or known.record.boot_id != self._clock.boot_id:
            return 0.0
        return known.record.free_at if known.record.free_at <= now else known.before

    def _claim(self, window_ms: int, number: int, free_at: float, now: float) -> Claim:
        known, seen = self._known.get((window_ms, number)), None
        if known and known.record.boot_id != self._clock.boot_id and self._free_at(known) <= self._clock.monotonic():
            seen = known.record
        return Claim(self._record(window_ms, number, free_at), now, seen)

    def _is_own(self, claim: Claim) -> bool:
        known = self._known.get((claim.record.window_ms, claim.record.number))
        return known is None or known.record.owner == self._owner

    def _record(self, window_ms: int, number: int, free_at: float) -> PermitRecord:
        return PermitRecord(self.platform, self.client_id, window_ms, number, free_at, self._clock.boot_id, self._owner)


def by_account(records: Iterable[PermitRecord]) -> Mapping[tuple[str, str], list[PermitRecord]]:
    """Sort records by platform and client id."""
    found: dict[tuple[str, str], list[PermitRecord]] = {}
    for record in records:
        found.setdefault((record.platform, record.client_id), []).append(record)
    return found
