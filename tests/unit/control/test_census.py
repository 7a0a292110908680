"""Who needs attention first, how many there are of each kind, and pages of a list in which tenants move."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.control.census import Census, census
from adsyncd.control.paging import position
from adsyncd.control.statuses import Member
from adsyncd.errors import CommandRefused
from adsyncd.model.selection import EVERYTHING, Selection, Show
from adsyncd.model.status import State
from adsyncd.model.verdict import Severity, Trouble, Verdict
from support.records import NOON
from support.tenants import a_tenant


def member(
    name: str,
    trouble: Trouble | None = None,
    severity: Severity = Severity.WARNING,
    *,
    state: State = State.IDLE,
    hours_ago: float | None = None,
    reason: str = "so",
    client_id: str = "mixo-1",
) -> Member:
    since = None if hours_ago is None else NOON - timedelta(hours=hours_ago)
    verdict = (
        Verdict(name, trouble, severity, f"{name} is so", reason, fixes=("do", "or"), since=since) if trouble else None
    )
    return Member(name, state, verdict, a_tenant(id=name, client_id=client_id))


def taken(*members: Member, near: Sequence[str] = ()) -> Census:
    return census(sorted(members), lambda one: one.id in near)


def ids(
    found: Census,
    *kinds: Show,
    worst: bool = True,
    platform: str | None = None,
    match: str | None = None,
    q: str | None = None,
) -> list[str]:
    selection = Selection(frozenset(kinds), platform, match, q)
    return list(found.page(selection, worst=worst, limit=1000, after=None)[1].items)


def test_the_worst_come_first() -> None:
    found = taken(
        member("a-well"),
        member("b-near"),
        member("c-paused", Trouble.PAUSED, Severity.NOTE),
        member("d-late-now", Trouble.LATE, hours_ago=1),
        member("e-late-long", Trouble.LATE, hours_ago=5),
        member("f-late", Trouble.LATE),
        member("g-partial", Trouble.PARTIAL, hours_ago=9),
        member("h-failing", Trouble.FAILING, Severity.CRITICAL),
        member("i-refused", Trouble.REFUSED, Severity.CRITICAL),
        member("j-refused", Trouble.REFUSED, Severity.CRITICAL),
        near=["b-near", "j-refused"],
    )
    assert [name[0] for name in ids(found)] == list("jihedfgcba")
    assert ids(found, worst=False) == sorted(found.members)


def test_each_kind_is_counted_and_a_tenant_may_be_of_several() -> None:
    found = taken(
        member("a", Trouble.LATE, state=State.WAITING),
        member("b", Trouble.THROTTLED, state=State.RUNNING),
        member("c", Trouble.PAUSED, Severity.NOTE, state=State.PAUSED),
        member("d", state=State.PAUSED),
        Member("e", State.REFUSED, None, None),
        near=["a"],
    )
    assert found.counts == {
        Show.ALL: 5,
        Show.FAILING: 0,
        Show.LATE: 1,
        Show.PARTIAL: 0,
        Show.WAITING: 1,
        Show.RUNNING: 2,
        Show.NEAR_QUOTA: 2,
        Show.PAUSED: 2,
        Show.REFUSED: 1,
    }
    assert ids(found, Show.NEAR_QUOTA) == ["a", "b"]
    assert ids(found, Show.FAILING) == []


def test_a_list_has_the_tenants_of_a_platform_or_with_a_text() -> None:
    found = taken(member("acme"), member("globex", client_id="ACME-2"), Member("hooli", State.REFUSED, None, None))
    assert ids(found, q="acme") == ["acme", "globex"]
    assert ids(found, q="ACME") == ["acme", "globex"]
    assert ids(found, platform=found.members["acme"].tenant.platform.name, q="glo") == ["globex"]  # type: ignore[union-attr]
    assert ids(found, platform="nowhere") == []
    assert ids(found, match="*o*") == ["globex", "hooli"]
    assert ids(found, match="glob") == []


def test_a_list_has_the_tenants_of_any_of_several_kinds() -> None:
    found = taken(
        member("a", Trouble.LATE),
        member("b", Trouble.PAUSED, Severity.NOTE),
        member("c", Trouble.FAILING, Severity.CRITICAL),
        member("d"),
    )
    assert ids(found, Show.LATE, Show.PAUSED) == ["a", "b"]
    assert ids(found, Show.LATE, Show.PAUSED, match="[!a]") == ["b"]
    assert ids(found, Show.LATE, Show.ALL) == ids(found) == ["c", "a", "b", "d"]


def test_causes_group_verdicts_by_trouble_and_reason() -> None:
    late = [member(f"t{number}", Trouble.LATE, hours_ago=number, reason="the quota") for number in range(1, 8)]
    found = taken(
        *late, member("x", Trouble.LATE, reason="429s"), member("y", Trouble.FAILING, Severity.CRITICAL)
    ).causes
    assert [(cause.trouble, cause.reason, cause.number) for cause in found] == [
        (Show.FAILING, "so", 1),
        (Show.LATE, "the quota", 7),
        (Show.LATE, "429s", 1),
    ]
    assert found[1].tenants == ["t7", "t6", "t5", "t4", "t3"]
    assert (found[1].since, found[1].fix, found[2].since) == (NOON - timedelta(hours=7), "do", None)


MEMBERS = st.builds(
    member,
    st.from_regex("[a-z][a-z0-9]{0,3}", fullmatch=True),
    st.none() | st.sampled_from(Trouble),
    st.sampled_from(Severity),
    hours_ago=st.none() | st.integers(0, 3),
)
MANY = st.lists(MEMBERS, max_size=30, unique_by=lambda one: one.id)


@given(MANY, st.integers(1, 7), st.booleans())
def test_while_nothing_changes_each_tenant_is_on_exactly_one_page(some: list[Member], limit: int, worst: bool) -> None:
    found, seen, after = taken(*some, near=[one.id for one in some[::3]]), list[str](), None
    while True:
        total, page = found.page(EVERYTHING, worst=worst, limit=limit, after=after)
        assert total == len(some)
        seen += page.items
        if (after := page.next) is None:
            break
        assert len(page.items) == limit
    assert seen == ids(found, worst=worst)
    assert sorted(seen) == sorted(one.id for one in some)


@given(st.lists(MANY, min_size=1, max_size=8), st.integers(1, 5), st.booleans())
def test_tenants_may_come_go_and_move_between_pages(lives: list[list[Member]], limit: int, worst: bool) -> None:
    after, seen = None, list[str]()
    for some in lives:
        total, page = taken(*some).page(EVERYTHING, worst=worst, limit=limit, after=after)
        assert len(page.items) <= limit
        assert total == len(some)
        assert set(page.items) <= {one.id for one in some}
        seen += page.items
        if (after := page.next) is None:
            break
    if not worst:
        assert seen == sorted(set(seen))  # by id nothing moves, so nothing comes twice


@pytest.mark.parametrize("after", ["x", position("acme"), position(1, 2, 3, 4), position(1, 2, 3, "4", "acme")])
def test_a_position_of_another_list_is_refused(after: str) -> None:
    with pytest.raises(CommandRefused):
        taken(member("a")).page(EVERYTHING, worst=True, limit=1, after=after)
