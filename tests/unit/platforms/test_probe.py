import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adsyncd.errors import BadAnswer, ListingError, ProfileMismatch
from adsyncd.model.campaign import Campaign, Oddities, Page
from adsyncd.model.profile import Answer, FieldPlace, Listing, Means, Paging, PagingKind, Profile, StaticToken
from adsyncd.platforms.probe import HIDDEN, Examined, examine, examine_saved
from adsyncd.platforms.words import Secrets
from adsyncd.rate.dialect import Dialect, Rule
from support.records import campaign

RECORDS: list[dict[str, Any]] = [
    {"key": 101, "title": "Spring", "money": {"daily": "25.50", "currency": "EUR"}, "made": "2026-01-02T00:00:00Z"},
    {"key": 102, "title": None, "money": {"total": 7}},
]
LISTING = Listing("GET", "/c", "result.items")
FIELDS = (
    FieldPlace("id", ("key",)),
    FieldPlace("name", ("label", "title")),
    FieldPlace("budget", ("money.daily", "money.total")),
    FieldPlace("created_at", ("made",)),
)
CURSOR = Paging(PagingKind.CURSOR, "after", next="more")


def described(paging: Paging = CURSOR, fields: tuple[FieldPlace, ...] = FIELDS) -> Profile:
    return Profile("pennant", StaticToken("token"), replace(LISTING, paging=paging), fields)


def read() -> tuple[Campaign, ...]:
    made = datetime(2026, 1, 2, tzinfo=UTC)
    first = replace(campaign("101"), name="Spring", budget=25.5, created_at=made)
    return first, replace(campaign("102"), name=None, budget=7.0, created_at=None)


def page(**values: Any) -> Page:  # noqa: ANN401 - whatever a page has
    return Page(**{"number": 1, "campaigns": read(), "total": 5, "has_more": True, "next": "tok", **values})


def examined(profile: Profile, the_page: Page, records: object = RECORDS, *secrets: str) -> Examined:
    known = Secrets()
    known.learn(*(SecretStr(secret) for secret in secrets))
    return examine(profile, {"result": {"items": records}}, the_page, known.shown)


def test_each_column_has_its_path_its_value_as_it_stands_and_what_it_was_read_as() -> None:
    found = examined(described(), page())
    assert (found.records, found.total) == (2, 5)
    assert [(one.column, one.path, one.records, one.value, one.read_as) for one in found.columns] == [
        ("id", "key", 2, "101", "101"),
        ("name", "title", 1, '"Spring"', "Spring"),
        ("budget", "money.daily", 2, '"25.50"', "25.5"),
        ("created_at", "made", 1, '"2026-01-02T00:00:00Z"', "2026-01-02T00:00:00+00:00"),
    ]
    assert found.trouble is None


def test_where_a_path_finds_nothing_it_says_how_far_it_leads_and_what_is_there() -> None:
    fields = (*FIELDS[:2], FieldPlace("budget", ("money.weekly", "cash")), FieldPlace("clicks", ("stats.clicks",)))
    found = examined(described(fields=fields), page())
    budget, clicks = found.columns[2:]
    assert (budget.path, budget.records, budget.beside) == (None, 0, ("money.currency", "money.daily"))
    assert clicks.beside == ("key", "made", "money", "title")
    assert found.trouble == "no record has a value for budget, clicks"


def test_few_of_many_names_are_shown() -> None:
    record = {f"name-{number}": number for number in range(100)}
    [column] = examined(described(fields=(FieldPlace("id", ("key",)),)), page(campaigns=()), [record]).columns
    assert column.beside == tuple(sorted(record)[:20])


def test_a_value_that_could_not_be_read_is_trouble() -> None:
    odd = Oddities(1, 0, ("101: budget is not a number",))
    records = [{**RECORDS[0], "money": {"daily": "much"}}]
    campaigns = (replace(read()[0], budget=None),)
    found = examined(described(), page(campaigns=campaigns, odd=odd), records)
    assert (found.columns[2].value, found.columns[2].read_as) == ('"much"', None)
    assert found.trouble == "can't read 101: budget is not a number"


def test_an_empty_page_has_nothing_to_check() -> None:
    found = examined(described(), page(campaigns=(), has_more=False, next=None), [])
    assert (found.records, found.columns, found.next, found.trouble) == (0, (), None, None)


@pytest.mark.parametrize(
    ("paging", "next_", "asked"),
    [
        (CURSOR, "tok", "after=tok"),
        (Paging(PagingKind.NUMBER, "page", first=0), None, "page=1"),
        (Paging(PagingKind.NUMBER, "page"), None, "page=2"),
        (Paging(PagingKind.OFFSET, "start"), "2", "start=2"),
        (Paging(PagingKind.LINK, next="next"), "/c?after=tok", "/c?after=tok"),
    ],
)
def test_it_says_how_the_next_page_is_asked_for(paging: Paging, next_: str | None, asked: str) -> None:
    assert examined(described(paging), page(next=next_)).next == asked
    assert examined(described(paging), page(next=next_, has_more=False)).next is None


def test_what_may_hold_a_secret_is_not_shown() -> None:
    records = [{**RECORDS[0], "title": "it is hunter2-hunter2"}]
    campaigns = (replace(read()[0], name="it is hunter2-hunter2"),)
    found = examined(described(), page(campaigns=campaigns, next="hunter2-hunter2"), records, "hunter2-hunter2")
    assert found.next == f"after={HIDDEN}"
    assert (found.columns[1].value, found.columns[1].read_as) == (HIDDEN, HIDDEN)
    assert "hunter2" not in json.dumps([str(one) for one in found.columns])


def saved(**parts: Any) -> bytes:  # noqa: ANN401 - whatever an answer has
    return json.dumps({"result": {"items": RECORDS}, **parts}).encode()


@pytest.mark.parametrize(
    ("paging", "parts", "asked"),
    [
        (CURSOR, {"more": "tok"}, "after=tok"),
        (CURSOR, {}, None),
        (Paging(PagingKind.NUMBER, "page", has_more="more"), {"more": True}, "page=2"),
        (Paging(PagingKind.NUMBER, "page", has_more="more"), {"more": False}, None),
        (Paging(PagingKind.OFFSET, "start", "count"), {}, "start=2"),
        (Paging(PagingKind.LINK, next="more"), {"more": "https://ads.example.com/c?at=2"}, "/c?at=2"),
        (Paging(PagingKind.LINK, next="more"), {"more": "/c?at=2"}, "/c?at=2"),
    ],
)
def test_a_saved_answer_shows_the_same_without_a_request(
    paging: Paging, parts: dict[str, Any], asked: str | None
) -> None:
    found = examine_saved(described(paging), saved(**parts))
    assert (found.records, found.next, found.columns[1].read_as) == (2, asked, "Spring")


def test_a_saved_answer_that_the_profile_does_not_fit_is_refused_as_in_a_run() -> None:
    with pytest.raises(ProfileMismatch):
        examine_saved(described(), b'{"data": []}')
    with pytest.raises(BadAnswer):
        examine_saved(described(), b"<html>")
    with pytest.raises(ListingError):
        examine_saved(described(), saved(more={"page": 2}))


@pytest.mark.parametrize(
    ("rules", "meaning"),
    [
        ({"expect": Rule(None, "code", (0,))}, "expect does not match, at code"),
        ({"answers": (Answer(Means.LATER, Rule(None, "code", (7,))),)}, 'one of the answers that mean "later" matches'),
        ({"dialect": Dialect(throttling=(Rule(200, "code", (7,)),))}, 'mean "throttled" matches'),
    ],
)
def test_a_saved_answer_that_a_run_takes_for_an_error_is_none(rules: dict[str, Any], meaning: str) -> None:
    profile = replace(described(), **rules)
    with pytest.raises(BadAnswer, match=meaning):
        examine_saved(profile, saved(code=7))
    if "expect" in rules:
        assert examine_saved(profile, saved(code=0)).records == 2
