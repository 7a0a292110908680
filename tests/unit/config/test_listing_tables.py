import tomllib

import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.field_types import ConfigTable
from adsyncd.config.listing_tables import FieldsTable, ListTable, PagingTable
from adsyncd.model.profile import FieldPlace, Listing, Paging, PagingKind, Times

LEAST = 'path = "/v1/campaigns"\nrecords = "data"\n'


def problem(table: type[ConfigTable], text: str) -> Diagnostic:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(tomllib.loads(text))
    [found] = diagnose(caught.value, table)
    return found


def test_a_listing_is_one_page_unless_more_is_said() -> None:
    assert ListTable.model_validate(tomllib.loads(LEAST)).listing() == Listing("GET", "/v1/campaigns", "data")


def test_every_key_of_a_listing_is_read() -> None:
    text = """\
method = "POST"
path = "/v1/{account}/search?kind=campaign"
params = { fields = "id,name" }
json = { query = "SELECT id" }
records = "data.list"
absent = "empty"
page_size = [10, 500]
cost = 3
[paging]
kind = "cursor"
in = "body"
param = "pageToken"
size = "pageSize"
next = "nextPageToken"
total = "total"
"""
    assert ListTable.model_validate(tomllib.loads(text)).listing() == Listing(
        "POST",
        "/v1/{account}/search?kind=campaign",
        "data.list",
        (("fields", "id,name"),),
        '{"query":"SELECT id"}',
        absent_is_empty=True,
        page_size=(10, 500),
        cost=3,
        paging=Paging(PagingKind.CURSOR, "pageToken", "pageSize", in_body=True, next="nextPageToken", total="total"),
    )


def test_paging_in_the_body_makes_a_body() -> None:
    text = 'method = "POST"\n' + LEAST + 'paging = { kind = "offset", in = "body", param = "start" }'
    assert ListTable.model_validate(tomllib.loads(text)).listing().json == "{}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('kind = "cursor"\nparam = "after"', 'of kind "cursor" needs next, the path to it in an answer'),
        ('kind = "link"', 'of kind "link" needs next, the path to it in an answer'),
        ('kind = "number"\nparam = "page"\nnext = "a"', 'of kind "number" has no use for next'),
        ('kind = "number"', 'of kind "number" needs param, the name of the parameter'),
        ('kind = "offset"', 'of kind "offset" needs param, the name of the parameter'),
        ('kind = "cursor"\nnext = "a"', 'of kind "cursor" needs param, the name of the parameter'),
        ('kind = "link"\nnext = "a"\nparam = "b"', 'of kind "link" has no use for param'),
        ('kind = "offset"\nparam = "start"\nfirst = 1', 'has first, which only kind "number" uses'),
        (
            'kind = "link"\nnext = "a"\nhas_more = "b"',
            "has both next and has_more; keep next: without it no page follows",
        ),
    ],
)
def test_paging_that_can_not_be_is_refused(text: str, what: str) -> None:
    assert problem(PagingTable, text).what == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("json = {}", 'has a body, which a GET has not; write method = "POST"'),
        (
            'paging = { kind = "offset", in = "body", param = "a" }',
            'has a body, which a GET has not; write method = "POST"',
        ),
        ("page_size = [10, 5]", "must be the smallest and the largest page that the platform accepts, from 1"),
        ("page_size = [0, 5]", "must be the smallest and the largest page that the platform accepts, from 1"),
        ("cost = 0", "must be at least 1, got 0"),
    ],
)
def test_a_listing_that_can_not_be_is_refused(text: str, what: str) -> None:
    assert problem(ListTable, LEAST + text).what == what


def test_a_field_is_a_path_alternatives_or_a_table() -> None:
    text = """\
id = "id"
status = ["a.status", "status"]
budget = { path = ["daily", "lifetime"], scale = 1e-6 }
created_at = { path = "created", time = "ms" }
volatile = ["updated"]
"""
    table = FieldsTable.model_validate(tomllib.loads(text))
    assert table.fields() == (
        FieldPlace("id", ("id",)),
        FieldPlace("status", ("a.status", "status")),
        FieldPlace("budget", ("daily", "lifetime"), 1e-6),
        FieldPlace("created_at", ("created",), 1.0, Times.MILLISECONDS),
    )
    assert table.volatile == ("updated",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('clicks = { path = "a", scale = 2.0 }', "clicks has a scale, which only budget uses"),
        ('name = { path = "a", time = "ms" }', "name has a time, which only created_at uses"),
        ("name = []", "must not be empty, got an array"),
        ("budget = { path = 'a', scale = 0.0 }", "must be more than 0.0, got 0.0"),
    ],
)
def test_a_field_that_can_not_be_is_refused(text: str, what: str) -> None:
    assert problem(FieldsTable, f'id = "id"\n{text}').what == what
