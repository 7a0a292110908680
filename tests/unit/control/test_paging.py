"""Pages of lists: what a client that follows the links sees, and positions that belong to no list."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.control.paging import Listed, key_of, page_of, position
from adsyncd.errors import CommandRefused
from support.control import Inside, ask, refused
from support.records import bury


@given(st.sets(st.integers(0, 300)), st.integers(1, 50))
def test_each_item_is_on_exactly_one_page(ids: set[int], limit: int) -> None:
    items, seen, after = sorted(ids), list[int](), None
    while True:
        start = [one for one in items if after is None or one > int(key_of(after, int)[0])]
        page = page_of(start, limit, position)
        seen += page.items
        assert len(page.items) <= limit
        if page.next is None:
            break
        after = page.next
    assert seen == items


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers(-(2**50), 2**50)
        )
    )
)
def test_a_position_has_the_key_that_it_was_made_of(key: list[str | int]) -> None:
    assert key_of(position(*key), *map(type, key)) == tuple(key)


@pytest.mark.parametrize(
    "after",
    [
        "x",
        "!!!!",
        "bm9uc2Vuc2U",
        position("acme"),
        position(1, "acme", "more"),
        position("acme", 1),
        position(1, "a\0b"),
        position(1, "\ud800"),
        position(2**60, "acme"),
        position(float("inf"), "acme"),
        "W" * 1999,
    ],
)
def test_what_is_no_position_of_a_list_is_refused_with_a_fix(after: str) -> None:
    with pytest.raises(CommandRefused, match="no page of this list begins after") as refusal:
        key_of(after, int, str)
    assert "Link" in (refusal.value.fix or "")


def test_a_link_asks_the_same_question_again() -> None:
    page = Listed([1], "abc", by="before")
    assert page.link("/v1/x", {"q": "a&b", "before": "old"}) == '</v1/x?q=a%26b&before=abc>; rel="next"'
    assert Listed([1]).link("/v1/x", {}) is None


async def test_tenants_and_dead_letters_are_read_page_after_page(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "c1", "c2")
    await bury(inside.store, "globex", "c1")
    for path, key, expected in (
        ("/v1/tenants", "id", ["acme", "globex"]),
        ("/v1/dead-letters", "campaign_id", ["c1", "c2", "c1"]),
    ):
        seen, following = list[str](), f"{path}?limit=1"
        while following:
            answer = await api.get(following)
            [one] = answer.json()
            seen.append(one[key])
            following = answer.links.get("next", {}).get("url", "")
        assert seen == expected
        assert "link" not in (await api.get(path)).headers
        refused(await api.get(f"{path}?after=x"), 409)
        refused(await api.get(f"{path}?after=%00"), 422)
        assert await ask(api, f"{path}?limit=1000")


async def test_runs_of_all_tenants_are_read_page_after_page_also_those_of_one_instant(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    for name in ("acme", "globex", "initech"):
        await bury(inside.store, name, "c1")  # all at noon
    seen, following = list[str](), "/v1/runs?limit=2"
    while following:
        answer = await api.get(following)
        seen += [one["tenant"] for one in answer.json()]
        following = answer.links.get("next", {}).get("url", "")
    assert seen == ["initech", "globex", "acme"]


async def test_dead_letters_are_counted_by_reason(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "c1", "c2")
    await bury(inside.store, "globex", "c1")
    [one] = await ask(api, "/v1/dead-letters?group=reason")
    assert (one["reason"], one["campaigns"], one["tenants"], one["number"]) == (
        "422: over budget",
        3,
        ["acme", "globex"],
        2,
    )
    refused(await api.get("/v1/dead-letters?group=reason&tenant=acme"), 409)
    refused(await api.get("/v1/dead-letters?group=tenant"), 422)


async def test_a_plan_of_too_many_tenants_is_refused(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len((await ask(api, "/v1/plan"))["tenants"]) == len(inside.supervisor.tenants)
    monkeypatch.setattr("adsyncd.control.commands.MOST", 1)
    assert "adsyncd plan" in str(refused(await api.get("/v1/plan"), 409)["fix"])
