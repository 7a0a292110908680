import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.model.campaign import MOST_NAMED, STATISTICS, Campaign, Oddities, content_hash, idempotency_key, shown

ids = st.text(min_size=1, max_size=20)
tenants = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,20}\Z")


def test_a_push_has_the_key_that_it_has_had_in_every_version() -> None:
    # Fixed for ever: a run that an older version left open is resumed with the keys that it had.
    assert idempotency_key("acme", "cmp-0001", "acme-20261125T101500.000Z") == "2492ec24-caac-5d6d-8b0b-37529e12cea9"


@given(st.tuples(tenants, ids), st.tuples(tenants, ids))
def test_pushes_of_other_tenants_campaigns_or_runs_have_other_keys(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = {
        idempotency_key(tenant, campaign, f"{tenant}-{stamp}")
        for tenant, campaign in (one, other)
        for stamp in ("20261125T101500.000Z", "20261125T103000.000Z")
    }
    assert len(keys) == (2 if one == other else 4)


COUNTS = {"impressions": 1, "clicks": 2, "conversions": 3}
LISTED = {"id": "1", "name": "Spring", "status": "active", "budget": 5.0} | COUNTS
CAMPAIGN = Campaign("1", "Spring", "active", 5.0, "EUR", 1, 2, 3, datetime(2026, 1, 1, tzinfo=UTC), json.dumps(LISTED))


@pytest.mark.parametrize("key", sorted(STATISTICS))
def test_statistics_that_move_by_themselves_are_no_change_of_content(key: str) -> None:
    moved = replace(CAMPAIGN, payload=json.dumps(LISTED | {key: 99}))
    assert content_hash(moved, STATISTICS) == content_hash(CAMPAIGN, STATISTICS)


@pytest.mark.parametrize("change", [{"name": "Summer"}, {"status": "paused"}, {"budget": 6.0}, {"labels": ["new"]}])
def test_all_else_in_a_campaign_is_its_content(change: dict[str, object]) -> None:
    changed = replace(CAMPAIGN, payload=json.dumps(LISTED | change))
    assert content_hash(changed, STATISTICS) != content_hash(CAMPAIGN, STATISTICS)


@pytest.mark.parametrize(
    ("path", "without"),
    [
        ("a", {"b": [{"c": 1, "d": 2}, 5], "e": {"c": {"f": 3}}}),
        ("b", {"a": 0, "e": {"c": {"f": 3}}}),
        ("b.c", {"a": 0, "b": [{"d": 2}, 5], "e": {"c": {"f": 3}}}),
        ("e.c.f", {"a": 0, "b": [{"c": 1, "d": 2}, 5], "e": {"c": {}}}),
    ],
)
def test_what_a_dotted_path_leads_to_is_no_content(path: str, without: dict[str, object]) -> None:
    whole = replace(CAMPAIGN, payload=json.dumps({"a": 0, "b": [{"c": 1, "d": 2}, 5], "e": {"c": {"f": 3}}}))
    assert content_hash(whole, (path,)) == content_hash(replace(CAMPAIGN, payload=json.dumps(without)), ())


@pytest.mark.parametrize("path", ["x", "a.b", "b.x", "b.c.x", "e.c.f.x", "c", "f"])
def test_a_path_that_leads_nowhere_removes_nothing(path: str) -> None:
    whole = replace(CAMPAIGN, payload=json.dumps({"a": 0, "b": [{"c": 1, "d": 2}, 5], "e": {"c": {"f": 3}}}))
    assert content_hash(whole, (path,)) == content_hash(whole, ())


def test_oddities_add_up_and_name_the_first() -> None:
    none, one, more = Oddities(), Oddities(1, 1, ("a",)), Oddities(5, 2, ("b", "c"))
    assert str(none) == ""
    assert none + one == one
    assert one + more == Oddities(6, 3, ("a", "b", "c"))
    assert str(one + more) == "a; b; c; and 3 more"
    assert len(sum([more] * MOST_NAMED, none).first) == MOST_NAMED


@pytest.mark.parametrize(
    ("id_", "words"), [("c1", "c1"), ("\x1b]52;c\x07", "\\x1b]52;c\\x07"), ("x" * 65, "x" * 64 + "...")]
)
def test_an_id_in_a_sentence_is_short_and_harmless(id_: str, words: str) -> None:
    assert shown(id_) == words
