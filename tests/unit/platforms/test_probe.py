import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adsyncd.model.campaign import Campaign, Oddities, Page
from adsyncd.model.profile import FieldPlace, Listing, Paging, PagingKind, Profile, StaticToken
from adsyncd.platforms.probe import HIDDEN, Examined, examine
from adsyncd.platforms.words import Secrets
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
    assert [(one.column, one.path, one.records, one.value, one.read_as) for one in found.findings] == [
        ("id", "key", 2, "101", "101"),
        ("name", "title", 1, '"Spring"', "Spring"),
        ("budget", "money.daily", 2, '"25.50"', "25.5"),
        ("created_at", "made", 1, '"2026-01-02T00:00:00Z"', "2026-01-02T00:00:00+00:00"),
    ]
    assert found.trouble is None


def test_where_a_path_finds_nothing_it_says_how_far_it_leads_and_what_is_there() -> None:
    fields = (*FIELDS[:2], FieldPlace("budget", ("money.weekly", "cash")), FieldPlace("clicks", ("stats.clicks",)))
    found = examined(described(fields=fields), page())
    budget, clicks = found.findings[2:]
    assert (budget.path, budget.records, budget.beside) == (None, 0, ("money.daily", "money.currency"))
    assert clicks.beside == ("key", "title", "money", "made")
    assert found.trouble == "no record has a value for budget, clicks"


def test_few_of_many_names_are_shown() -> None:
    record = {f"name-{number}": number for number in range(100)}
    [finding] = examined(described(fields=(FieldPlace("id", ("key",)),)), page(campaigns=()), [record]).findings
    assert finding.beside == tuple(f"name-{number}" for number in range(12))


def test_a_value_that_could_not_be_read_is_trouble() -> None:
    odd = Oddities(1, 0, ("101: budget is not a number",))
    records = [{**RECORDS[0], "money": {"daily": "much"}}]
    campaigns = (replace(read()[0], budget=None),)
    found = examined(described(), page(campaigns=campaigns, odd=odd), records)
    assert (found.findings[2].value, found.findings[2].read_as) == ('"much"', None)
    assert found.trouble == "can't read 101: budget is not a number"


def test_an_empty_page_has_nothing_to_check() -> None:
    found = examined(described(), page(campaigns=(), has_more=False, next=None), [])
    assert (found.records, found.findings, found.next, found.trouble) == (0, (), None, None)


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
    assert (found.findings[1].value, found.findings[1].read_as) == (HIDDEN, HIDDEN)
    assert "hunter2" not in json.dumps([str(finding) for finding in found.findings])
