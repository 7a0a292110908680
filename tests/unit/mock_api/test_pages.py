from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from mock_api.description import ListTable
from mock_api.pages import Asked, BadPage, Cursors, asked

CURSORS = Cursors("acme", now=100.0, lifetime_s=0)


def listing(kind: str, **paging: object) -> ListTable:
    paging = {"kind": kind, "size": "size", **paging}
    return ListTable.model_validate({"path": "/x", "records": "data", "page_size": [2, 50], "paging": paging})


@pytest.mark.parametrize(
    ("about", "sent", "part"),
    [
        (listing("none", size=None), {}, Asked(0, 50)),
        (listing("number", param="page"), {"page": "3", "size": "10"}, Asked(20, 10)),
        (listing("number", param="page", first=0), {"page": 3, "size": 10}, Asked(30, 10)),
        (listing("offset", param="skip"), {"skip": "7", "size": "1000"}, Asked(7, 50)),
        (listing("offset", param="skip"), {}, Asked(0, 50)),
        (listing("cursor", param="after", next="n"), {"after": CURSORS.cursor(8), "size": "4"}, Asked(8, 4)),
        (listing("cursor", param="after", next="n"), {"size": "4"}, Asked(0, 4)),
        (listing("link", next="n"), {"next_token": CURSORS.cursor(6), "size": "3"}, Asked(6, 3)),
    ],
)
def test_a_request_asks_for_a_part_of_the_listing(about: ListTable, sent: Mapping[str, JsonValue], part: Asked) -> None:
    assert asked(about, sent, 0, CURSORS) == part


def test_the_platform_may_have_a_page_size_of_its_own() -> None:
    assert asked(listing("number", param="page"), {"page": "3", "size": "10"}, 4, CURSORS) == Asked(8, 4)


@pytest.mark.parametrize(
    "sent", [{"size": "1"}, {"size": "ten"}, {"page": "0"}, {"page": True}, {"page": 1.5}, {"page": "-1"}]
)
def test_what_is_no_page_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(BadPage, match="must be a whole number from"):
        asked(listing("number", param="page"), sent, 0, CURSORS)


def test_a_cursor_shows_nothing_and_is_good_for_its_own_client_id_alone() -> None:
    cursor = CURSORS.cursor(17)
    assert "17" not in cursor
    assert CURSORS.first(cursor) == 17
    for wrong in (cursor[:-2], cursor + "A", "x", "é", Cursors("globex", 100.0, 0).cursor(17)):
        with pytest.raises(BadPage, match="not valid"):
            CURSORS.first(wrong)


def test_a_cursor_expires_if_it_has_a_life() -> None:
    cursor = Cursors("acme", 100.0, 30).cursor(5)
    assert Cursors("acme", 129.0, 30).first(cursor) == 5
    with pytest.raises(BadPage, match="expired"):
        Cursors("acme", 130.0, 30).first(cursor)
