import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, ProfileMismatch
from adsyncd.model.campaign import MOST_NAMED, STATISTICS, Campaign, Oddities, Page, content_hash
from adsyncd.platforms.paging import Pages
from adsyncd.platforms.reading import Reader

CAMPAIGN: dict[str, Any] = {
    "id": "cmp-0001",
    "name": "Spring",
    "status": "active",
    "budget": 100.5,
    "impressions": 1000,
    "clicks": 20,
    "conversions": 3,
    "created_at": "2026-01-02T03:04:05Z",
}
LABELLED = CAMPAIGN | {"id": 7, "name": "Größe 😀", "labels": ["b", {"z": None, "a": 1e3}], "budget": 5}
COLUMNS = [name for name in CAMPAIGN if name != "id"]


PROFILE = shipped_profile()
READER = Reader(PROFILE)
URL = httpx.URL("http://ads.invalid/api/campaigns")


def read_page(body: bytes, number: int) -> Page:
    return Pages(PROFILE, 10).page(number, READER.read(body, number), URL, lambda _: False)


def isoformat(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()


def listing(*campaigns: object, total: object = 1, has_more: object = False) -> bytes:
    """A page's body; a value may be NaN, infinite or huge."""
    return json.dumps({"data": campaigns, "pagination": {"total": total, "has_more": has_more}}).encode()


def spelled(field: str, value: str) -> bytes:
    """The body of a page with one campaign, in which a field's value is spelled as given."""
    return listing(CAMPAIGN | {field: "HERE"}).replace(b'"HERE"', value.encode())


def read(body: bytes) -> Campaign:
    (campaign,) = read_page(body, 1).campaigns
    return campaign


def refusal(body: bytes) -> str:
    with pytest.raises(BadAnswer) as refused:
        read_page(body, 1)
    return str(refused.value)


WHOLE = listing(CAMPAIGN)


# Pages that are as the API promises


def test_a_page_is_read_with_all_of_its_fields() -> None:
    payload = (
        '{"budget":100.5,"clicks":20,"conversions":3,"created_at":"2026-01-02T03:04:05Z",'
        '"id":"cmp-0001","impressions":1000,"name":"Spring","status":"active"}'
    )
    created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    campaign = Campaign(**CAMPAIGN | {"currency": None, "created_at": created_at, "payload": payload})
    page = Page(number=3, campaigns=(campaign,), total=31, has_more=True)
    assert read_page(listing(CAMPAIGN, total=31, has_more=True), 3) == page


def test_a_campaign_has_the_content_hash_that_it_has_had_in_every_version() -> None:
    # With another one an upgrade would push every campaign once, though `push = "changed"`.
    usual, labelled = (content_hash(read(listing(campaign)), STATISTICS) for campaign in (CAMPAIGN, LABELLED))
    assert usual == "05395b7ca618d7b36aa2d1bed4aefb87f484774fddea93e686e636bb2688b915"
    assert labelled == "2473cd15340f93ddb0b4e878a66d9f9f21455574937cda20ee6f381b4f823586"


def test_unknown_fields_pass_and_are_kept_in_the_payload() -> None:
    body = listing(CAMPAIGN | {"labels": ["b", {"z": None, "a": "ü"}]})[:-1] + b', "request_id": "r-1"}'
    assert json.loads(read(body).payload) == CAMPAIGN | {"labels": ["b", {"z": None, "a": "ü"}]}


def test_a_payload_does_not_depend_on_order_white_space_or_escapes() -> None:
    other = dict(reversed(CAMPAIGN.items())) | {"name": "Frühling"}
    spread = json.dumps({"pagination": {"has_more": False, "total": 1}, "data": [other]}, indent=3, ensure_ascii=False)
    assert read(spread.encode()) == read(listing(CAMPAIGN | {"name": "Frühling"}))


def test_of_a_field_that_comes_twice_value_and_payload_are_the_same_one() -> None:
    twice = read(listing(CAMPAIGN).replace(b'"id"', b'"id": "cmp-0000", "id"'))
    assert twice.id == json.loads(twice.payload)["id"]
    assert read_page(listing(CAMPAIGN)[:-1] + b', "data": []}', 1).campaigns == ()


@given(
    st.fixed_dictionaries(
        {
            "id": st.text(st.characters(codec="utf-8", exclude_characters="\0./"), min_size=1) | st.integers(0, 2**40),
            "name": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            "status": st.sampled_from(["active", "paused"]),
            "budget": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70),
            **dict.fromkeys(("impressions", "clicks", "conversions"), st.integers(-(2**63) + 1, 2**63 - 1)),
            "created_at": st.integers(2 * 10**8, 9 * 10**9).map(isoformat),
            "extra": st.none() | st.lists(st.integers()),
        }
    )
)
def test_a_campaign_is_the_same_beside_one_that_is_odd(item: dict[str, Any]) -> None:
    page = read_page(listing(item, 7), 1)
    assert page.odd.lost == 1
    assert page.campaigns == read_page(listing(item), 1).campaigns


# Odd items


@pytest.mark.parametrize("field", COLUMNS)
@pytest.mark.parametrize("value", ["[4711]", "{}", "true", '"a\\u0000b"', '"\\ud800"', '"\\udfffx"'])
def test_a_value_that_cannot_be_read_is_left_out_and_named_and_its_payload_kept(field: str, value: str) -> None:
    page = read_page(spelled(field, value), 1)
    [campaign] = page.campaigns
    assert getattr(campaign, field) is None
    assert json.loads(campaign.payload) == CAMPAIGN | {field: json.loads(value)}
    assert campaign.payload.isascii()
    assert (page.odd.count, page.odd.lost) == (1, 0)
    assert str(page.odd).startswith(f"cmp-0001: {field} ")
    assert "4711" not in str(page.odd)
    assert {name: getattr(campaign, name) for name in COLUMNS if name != field} == {
        name: getattr(read(listing(CAMPAIGN)), name) for name in COLUMNS if name != field
    }


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("budget", '"10.50"', 10.5),
        ("budget", "null", None),
        ("clicks", '"1200"', 1200),
        ("name", "12", "12"),
        ("status", "null", None),
        ("created_at", "1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("created_at", '"2026-01-02T03:04:05-0700"', datetime(2026, 1, 2, 10, 4, 5, tzinfo=UTC)),
        ("created_at", "null", None),
    ],
)
def test_a_value_that_can_mean_one_thing_alone_is_read_without_a_word(field: str, value: str, column: object) -> None:
    page = read_page(spelled(field, value), 1)
    assert getattr(page.campaigns[0], field) == column
    assert json.loads(page.campaigns[0].payload)[field] == json.loads(value)
    assert (page.odd, page.lacking) == (Oddities(), Oddities())


def test_of_an_item_all_fields_that_cannot_be_read_are_named_and_of_a_page_the_first_items() -> None:
    wrong = [CAMPAIGN | {"id": f"c{number}", "budget": "x", "clicks": []} for number in range(MOST_NAMED + 2)]
    page = read_page(listing(*wrong, CAMPAIGN), 1)
    assert len(page.campaigns) == MOST_NAMED + 3
    first, *others, rest = str(page.odd).split("; ")
    assert first == "c0: budget is not a number, clicks is not a number"
    assert [words.partition(":")[0] for words in others] == [f"c{number}" for number in range(1, MOST_NAMED)]
    assert rest == "and 2 more"


@pytest.mark.parametrize(
    "value", ["null", "true", '""', '".."', '"a\\u0000b"', '"\\ud800"', f'"{"x" * 300}"', "1.5", "[]", "{}"]
)
def test_an_item_without_a_usable_id_costs_itself_alone_and_its_place_is_named(value: str) -> None:
    body = listing(CAMPAIGN, CAMPAIGN | {"id": "HERE"}, CAMPAIGN | {"id": "cmp-0003"})
    page = read_page(body.replace(b'"HERE"', value.encode()), 4)
    assert [campaign.id for campaign in page.campaigns] == ["cmp-0001", "cmp-0003"]
    assert (page.odd.count, page.odd.lost) == (1, 1)
    assert str(page.odd).startswith("page 4, item 2: id ")


@pytest.mark.parametrize("item", [None, 7, "cmp-0002", [], True])
def test_an_item_that_is_no_object_costs_itself_alone(item: object) -> None:
    page = read_page(listing(item, CAMPAIGN), 1)
    assert [campaign.id for campaign in page.campaigns] == ["cmp-0001"]
    assert page.odd == Oddities(1, 1, ("page 1, item 1: is not an object",))


@pytest.mark.parametrize("field", COLUMNS)
def test_a_missing_field_is_no_value_and_is_told(field: str) -> None:
    page = read_page(listing({key: CAMPAIGN[key] for key in CAMPAIGN if key != field}), 1)
    assert getattr(page.campaigns[0], field) is None
    assert (page.odd.count, str(page.lacking)) == (0, f"cmp-0001 lacks {field}")


def test_a_missing_id_is_told_with_the_item_s_place() -> None:
    page = read_page(listing({key: CAMPAIGN[key] for key in COLUMNS}), 2)
    assert page.odd == Oddities(1, 1, ("page 2, item 1: id is missing",))


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '[{"deep": -1e999}]', "9" * 5000])
def test_a_number_that_cannot_be_held_is_kept_as_its_text(value: str) -> None:
    payload = json.loads(read(spelled("extra", value)).payload, parse_constant=pytest.fail)
    assert str(payload["extra"]) in (value, "[{'deep': '-1e999'}]")
    page = read_page(spelled("budget", value), 1)
    assert (page.campaigns[0].budget, page.odd.count) == (None, 1)


def test_bytes_that_are_no_utf_8_spoil_their_value_alone() -> None:
    page = read_page(listing(CAMPAIGN | {"name": "HERE"}, CAMPAIGN | {"id": "c2"}).replace(b"HERE", b"Gr\xf6\xdfe"), 1)
    assert [campaign.name for campaign in page.campaigns] == [None, "Spring"]
    assert page.odd.count == 1
    assert page.campaigns[0].payload.isascii()


def test_what_an_id_says_of_itself_cannot_move_the_cursor() -> None:
    page = read_page(listing(CAMPAIGN | {"id": "\x1b[2J" + "x" * 200, "budget": "x"}), 1)
    assert str(page.odd) == f"\\x1b[2J{'x' * 60}...: budget is not a number"


@pytest.mark.parametrize("digits", [4300, 4301, 100_000])
@pytest.mark.parametrize("field", ["id", "impressions", "budget", "extra"])
def test_a_huge_integer_breaks_nothing(field: str, digits: int) -> None:
    page = read_page(spelled(field, "9" * digits), 1)
    assert "99" not in str(page.odd)
    assert page.odd.lost == (field == "id")
    assert all("9" * digits in campaign.payload for campaign in page.campaigns)


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [150, 250, 2_000, 40_000])
def test_what_is_nested_too_deeply_is_left_out_of_its_own_campaign_alone(opens: str, closes: str, depth: int) -> None:
    deep = spelled("extra", opens * depth + '"]}\\""' + closes * depth)
    item, beside = deep[len(b'{"data": [') : -len(b'], "pagination": {"total": 1, "has_more": false}}')], WHOLE
    body = beside.replace(b'"data": [', b'"data": [' + item + b", ")
    assert len(read_page(body, 1).campaigns) == 2
    payload = json.loads(read_page(body, 1).campaigns[0].payload)
    assert {**payload, "extra": None} == CAMPAIGN | {"extra": None}
    assert read_page(body, 1).campaigns[1] == read(WHOLE)


def test_json_that_is_nested_too_deeply_and_cut_off_is_no_page() -> None:
    assert "not JSON" in refusal(spelled("extra", "[" * 50_000))


@pytest.mark.parametrize("item", [b"1", b"{}", b"[]"])
def test_a_body_full_of_wrong_items_does_not_become_as_many_errors_in_memory(item: bytes) -> None:
    body = b'{"data":[' + b",".join([item] * 20_000) + b'],"pagination":{"has_more":false}}'
    tracemalloc.start()
    try:
        assert read_page(body, 1).odd.lost == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_500_000


# Paginations


@pytest.mark.parametrize("total", [None, True, -1, "many", 5.5, [], {}, 2**63 - 1, 2**70, 4e10, 10_000_001])
def test_a_total_that_is_no_number_of_campaigns_is_none(total: object) -> None:
    page = read_page(listing(CAMPAIGN, total=total), 1)
    assert (page.total, page.has_more, len(page.campaigns)) == (None, False, 1)


@pytest.mark.parametrize("total", [5, "5", 5.0, 0, 10_000_000])
def test_a_total_may_be_written_as_text_or_with_a_point(total: str | float) -> None:
    assert read_page(listing(CAMPAIGN, total=total), 1).total == int(total)


@pytest.mark.parametrize(("total", "read_as"), [(3, 3), (2, None), (0, None)])
@pytest.mark.parametrize("odd", [[], [7]])
def test_a_total_that_its_own_page_belies_is_none(total: int, read_as: int | None, odd: list[object]) -> None:
    page = read_page(listing(CAMPAIGN, *(odd or [CAMPAIGN]), total=total, has_more=True), 1)
    assert (page.total, page.has_more) == (read_as, True)


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("False", False), (1, True), (0, False), ("1", True)])
def test_a_boolean_may_be_written_as_text_or_a_number(said: object, meant: bool) -> None:
    assert read_page(listing(CAMPAIGN, total=9, has_more=said), 1).has_more is meant


@pytest.mark.parametrize(
    ("items", "number", "total", "more"),
    [(10, 1, 25, True), (10, 2, 25, True), (10, 3, 30, False), (5, 3, 25, True), (0, 4, 25, False), (0, 1, 0, False)],
)
@pytest.mark.parametrize("pagination", [{}, {"has_more": None}, {"has_more": "perhaps"}])
def test_without_has_more_the_end_follows_from_the_total_or_from_an_empty_page(
    items: int, number: int, total: int, more: bool, pagination: dict[str, object]
) -> None:
    body = json.dumps({"data": [CAMPAIGN] * items, "pagination": {"total": total, **pagination}}).encode()
    assert read_page(body, number).has_more is more


@pytest.mark.parametrize("pagination", [{"has_more": None}, {"total": -1}, {}, None, [], "next", 7])
def test_a_listing_that_does_not_tell_its_end_is_refused_and_that_is_named(pagination: object) -> None:
    assert "pagination.has_more: " in refusal(json.dumps({"data": [], "pagination": pagination}).encode())
    assert "pagination.has_more: " in refusal(b'{"data": []}')


def test_no_list_of_campaigns_is_an_empty_one_only_if_it_is_null() -> None:
    assert read_page(b'{"data": null, "pagination": {"has_more": false}}', 1).campaigns == ()
    for data in (b"{}", b'"x"', b"false", b"0"):
        assert "data: should be a list" in refusal(b'{"data": ' + data + b', "pagination": {"has_more": false}}')
    with pytest.raises(ProfileMismatch, match="data leads to nothing"):
        read_page(b'{"pagination": {"has_more": false}}', 1)


# No pages at all


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"'])
def test_json_that_is_no_object_is_refused_in_readable_words(body: bytes) -> None:
    assert refusal(body) == "the platform's answer is not what its API promises: it should be an object"


@pytest.mark.parametrize(
    "body", [WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE + b"}", WHOLE.decode().encode("utf-16"), b""]
)
def test_what_is_not_a_whole_json_text_is_refused(body: bytes) -> None:
    assert "not JSON, or not all of it" in refusal(body)


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_page(b"\xef\xbb\xbf" + WHOLE, 1) == read_page(WHOLE, 1)


@pytest.mark.parametrize("body", [b"<!doctype html><title>Sign in</title>", b"  \n<html>"])
def test_a_proxy_s_page_is_called_that(body: bytes) -> None:
    assert "an HTML page, as from a proxy" in refusal(body)


def test_json_of_very_many_objects_is_refused_before_it_is_read_item_by_item() -> None:
    assert "more than 100,000 lists and objects" in refusal(b'{"data":[' + b"{}," * 100_000 + b"{}]}")


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(["\ud800", "a\0b", "1e400", "2026-01-02"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CAMPAIGNS = st.fixed_dictionaries(
    {key: st.just(value) | ANYTHING for key, value in CAMPAIGN.items()}, optional={"extra": ANYTHING}
)
BODIES = st.builds(listing, CAMPAIGNS | ANYTHING, total=st.just(1) | ANYTHING, has_more=st.booleans() | ANYTHING)


@given(body=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()) | BODIES)
def test_no_bytes_make_anything_but_a_page_or_a_bad_answer(body: bytes) -> None:
    try:
        page = read_page(body, 1)
    except BadAnswer:
        return
    str(page.odd).encode()
    for campaign in page.campaigns:
        assert campaign.payload.isascii()
        campaign.id.encode()
        again = json.loads(campaign.payload, parse_constant=pytest.fail)
        assert read(listing(again)) == campaign  # what is canonical stays so


@given(body=BODIES, cut=st.integers(0, 400), flipped=st.integers(0, 255))
def test_no_damage_to_a_listing_makes_anything_but_a_page_or_a_bad_answer(body: bytes, cut: int, flipped: int) -> None:
    try:
        read_page(body[:cut] + bytes([flipped]) + body[cut + 1 :], 1)
    except BadAnswer:
        return
