"""All tenants at one moment: how many there are of each kind, and which needs attention first."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from adsyncd.control.overview import Cause
from adsyncd.control.paging import Listed, key_of, position
from adsyncd.control.statuses import Member
from adsyncd.model.selection import Selection, Show
from adsyncd.model.status import State
from adsyncd.model.verdict import Severity, Trouble, Verdict

Rank = tuple[int, int, int, int, str]

NAMED = 5  # tenants that a cause names
_SEVERITIES = {severity: number for number, severity in enumerate(Severity)}
_TROUBLES = {trouble: number for number, trouble in enumerate(Trouble)}
_WELL = len(Severity)
_UNKNOWN_SINCE = 2**40  # after all others
_SHOWS = {
    Trouble.REFUSED: Show.REFUSED,
    Trouble.FAILING: Show.FAILING,
    Trouble.LATE: Show.LATE,
    Trouble.PARTIAL: Show.PARTIAL,
    Trouble.THROTTLED: Show.NEAR_QUOTA,
    Trouble.PAUSED: Show.PAUSED,
}
_STATES = {
    State.RUNNING: (Show.RUNNING,),
    State.WAITING: (Show.RUNNING, Show.WAITING),
    State.PAUSED: (Show.PAUSED,),
    State.REFUSED: (Show.REFUSED,),
}


@dataclass(frozen=True, slots=True)
class Census:
    """`members` by id, in the order of ids; `worst`: the same, the worst first; `shown`: the ids of each kind.

    `states`: how many members are in each state. `causes`: the members with a verdict by trouble and reason, the worst
    first.
    """

    members: Mapping[str, Member]
    worst: Sequence[Rank]
    shown: Mapping[Show, Collection[str]]
    states: Mapping[State, int]
    causes: Sequence[Cause]

    @property
    def counts(self) -> dict[Show, int]:
        """How many tenants there are of each kind."""
        return {show: len(self.shown[show]) for show in Show}

    def page(self, selection: Selection, *, worst: bool, limit: int, after: str | None) -> tuple[int, Listed[str]]:
        """Return how many tenants are selected, and the ids of a page of them. Raises CommandRefused for a bad `after`.

        A tenant that moved since the page before may be missing or come twice.
        """
        if worst:
            matches = self._filter(selection)
            ranks = self.worst if selection.everything else [rank for rank in self.worst if matches(rank[-1])]
            start = bisect_right(ranks, _rank_in(after)) if after else 0
            page = ranks[start : start + limit]
            ids, more = [rank[-1] for rank in page], start + limit < len(ranks)
            return len(ranks), Listed(ids, position(*page[-1]) if more else None)
        found = self.ids(selection)
        start = bisect_right(found, str(key_of(after, str)[0])) if after else 0
        ids = found[start : start + limit]
        return len(found), Listed(ids, position(ids[-1]) if start + limit < len(found) else None)

    def causes_of(self, selection: Selection) -> list[Cause]:
        """Return the causes of the tenants that are selected."""
        if selection.everything:
            return list(self.causes)
        matches = self._filter(selection)
        verdicts = (self.members[rank[-1]].verdict for rank in self.worst if matches(rank[-1]))
        return _causes(verdict for verdict in verdicts if verdict)

    def ids(self, selection: Selection) -> list[str]:
        """Return the ids of the tenants that are selected, sorted."""
        matches = self._filter(selection)
        return [tenant_id for tenant_id in self.members if matches(tenant_id)]

    def _filter(self, selection: Selection) -> Callable[[str], bool]:
        kinds = [] if Show.ALL in selection.kinds else [self.shown[kind] for kind in selection.kinds]
        platform, pattern = selection.platform, selection.match
        part = selection.q.casefold() if selection.q else None

        def matches(tenant_id: str) -> bool:
            if kinds and not any(tenant_id in kind for kind in kinds):
                return False
            if pattern is not None and not fnmatchcase(tenant_id, pattern):
                return False
            tenant = self.members[tenant_id].tenant
            if platform is not None and (tenant is None or tenant.platform.name != platform):
                return False
            if part is None or part in tenant_id:
                return True
            return tenant is not None and part in tenant.client_id.casefold()

        return matches


def census(members: Iterable[Member], is_near: Callable[[Member], bool]) -> Census:
    """Return all tenants, given in the order of their ids. `is_near`: whether one is near its quota."""
    by_id, ranked, well = dict[str, Member](), list[Rank](), list[Rank]()
    shown: dict[Show, set[str]] = {show: set() for show in Show}
    for member in members:
        by_id[member.id] = member
        near = is_near(member)
        if near:
            shown[Show.NEAR_QUOTA].add(member.id)
        for show in _STATES.get(member.state, ()):
            shown[show].add(member.id)
        if member.verdict is None and not near:
            well.append((_WELL, 0, 0, 1, member.id))
            continue
        ranked.append(_rank(member, near=near))
        if member.verdict is not None:
            shown[_SHOWS[member.verdict.trouble]].add(member.id)
    ranked.sort()
    verdicts = [verdict for rank in ranked if (verdict := by_id[rank[-1]].verdict)]
    return Census(
        by_id,
        [*ranked, *well],
        {**shown, Show.ALL: by_id.keys()},
        Counter(member.state for member in by_id.values()),
        _causes(verdicts),
    )


def _causes(verdicts: Iterable[Verdict]) -> list[Cause]:
    groups = defaultdict[tuple[Trouble, str], list[Verdict]](list)
    for verdict in verdicts:
        groups[verdict.trouble, verdict.reason].append(verdict)
    found = [_cause(alike) for alike in groups.values()]
    return sorted(found, key=lambda cause: (_SEVERITIES[cause.severity], -cause.number))


def _rank(member: Member, *, near: bool) -> Rank:
    verdict = member.verdict
    if verdict is None:
        return _WELL, 0, 0, int(not near), member.id
    since = int(verdict.since.timestamp()) if verdict.since else _UNKNOWN_SINCE
    return _SEVERITIES[verdict.severity], _TROUBLES[verdict.trouble], since, int(not near), member.id


def _rank_in(after: str) -> Rank:
    severity, trouble, since, near, tenant_id = key_of(after, int, int, int, int, str)
    return int(severity), int(trouble), int(since), int(near), str(tenant_id)


def _cause(verdicts: Sequence[Verdict]) -> Cause:
    first = verdicts[0]
    return Cause(
        first.severity,
        _SHOWS[first.trouble],
        first.reason,
        first.fixes[0] if first.fixes else "",
        [verdict.tenant for verdict in islice(verdicts, NAMED)],
        len(verdicts),
        min((verdict.since for verdict in verdicts if verdict.since), default=None),
    )
