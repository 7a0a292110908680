"""Requests sent under other quotas, as they count in a new window: some are subtracted, some are waited out.

Each request is on record once for each window that its quota had. A new window has no records of its own. The records
of a longer window show every request within the new window's length; these are subtracted. The records of a shorter
window do not, since a permit that is used again overwrites its record. The overwritten ones cost a wait of at most the
new window's length.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from adsyncd.rate.bucket import cooling_s

_SAME_S = 0.001  # records no farther apart count as those of one request


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of `client_id` on record for a window of `length_ms`, and the latest instant at which it was counted.

    `at` and `in_force_at` are instants on the line of one boot, `since` is monotonic. By `in_force_at`, every request
    that counts in the window was on record there or had left it; -inf if the record was carried over. `out`: the
    request was sent by `at`, is still in flight, and counts as held everywhere.
    """

    client_id: str
    length_ms: int
    boot_id: str
    at: float
    in_force_at: float
    since: float
    out: bool = False


def carry_over(sent: Iterable[Sent], client_id: str, length_ms: int, now: float) -> tuple[list[float], float]:
    """Return the instants of requests that a window of `client_id` lacks, and until when unknown ones may count in it.

    An empty `client_id` means a platform: the requests of all its client ids count in its window.
    """
    missing: list[float] = []
    quiet_until = -math.inf
    for boot in _by_boot(sent):
        mine = [one.in_force_at for one in boot if (one.client_id, one.length_ms) == (client_id, length_ms)]
        complete_until = max(mine, default=-math.inf)
        for group in _requests(one for one in boot if one.at > complete_until):
            since = max(one.since for one in group)
            counted = Counter((one.client_id, one.length_ms) for one in group if not one.out)
            if since + cooling_s(length_ms) > now:
                missing += [since] * (_count(counted, client_id) - counted[client_id, length_ms])
        for one in _unknown(boot, client_id, length_ms):
            quiet_until = max(quiet_until, one.since - cooling_s(one.length_ms) + cooling_s(length_ms))
    return missing, quiet_until


def _unknown(boot: Sequence[Sent], client_id: str, length_ms: int) -> Iterator[Sent]:
    """Yield the records of shorter windows that may have overwritten records that still count."""
    known_until: dict[str, float] = {}
    latest: dict[tuple[str, int], Sent] = {}
    for group in _requests(boot):
        long = [one for one in group if one.length_ms >= length_ms and one.in_force_at > -math.inf]
        for one in long:
            known_until[one.client_id] = max(known_until.get(one.client_id, -math.inf), one.in_force_at)
        covered = {one.client_id for one in long}
        for one in group:
            if one.length_ms < length_ms and not covered & {client_id, one.client_id}:
                latest[one.client_id, one.length_ms] = one
    for one in latest.values():
        complete_until = max(known_until.get(who, -math.inf) for who in (client_id, one.client_id))
        if one.at - cooling_s(one.length_ms) > complete_until:
            yield one


def _by_boot(sent: Iterable[Sent]) -> Iterable[list[Sent]]:
    boots: dict[str, list[Sent]] = {}
    for one in sorted(sent, key=lambda one: one.at):
        boots.setdefault(one.boot_id, []).append(one)
    return boots.values()


def _requests(sent: Iterable[Sent]) -> Iterator[Sequence[Sent]]:
    """Yield the records of each request, or of several that were counted at one instant."""
    group: list[Sent] = []
    for one in sent:
        if group and one.at > group[-1].at + _SAME_S:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _count(lengths: Counter[tuple[str, int]], client_id: str) -> int:
    """Return how many requests of all client ids these records belong to."""
    most: dict[str, int] = {}
    for (who, _), count in lengths.items():
        most[who] = max(most.get(who, 0), count)
    return max(most.pop(client_id, 0), sum(most.values()))
