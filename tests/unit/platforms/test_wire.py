import json
import math
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.campaign import Campaign, Page
from adsyncd.errors import BadAnswer
from adsyncd.platforms.wire import denied, parse, read_page, read_token

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


def test_a_page_is_read_with_all_of_its_fields() -> None:
    assert read_page(listing(CAMPAIGN, total=31, has_more=True), 3) == Page(
        number=3,
        campaigns=(
            Campaign(
                id="cmp-0001",
                name="Spring",
                status="active",
                budget=100.5,
                impressions=1000,
                clicks=20,
                conversions=3,
                created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                payload='{"budget":100.5,"clicks":20,"conversions":3,"created_at":"2026-01-02T03:04:05Z",'
                '"id":"cmp-0001","impressions":1000,"name":"Spring","status":"active"}',
            ),
        ),
        total=31,
        has_more=True,
    )


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


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in CAMPAIGN for value in ("null", "[]", "{}", "true")]
    + [(field, '"secret-4711"') for field in ("budget", "impressions", "clicks", "conversions", "created_at")]
    + [(field, "4711") for field in ("name", "status", "created_at")]
    + [(field, value) for field in ("impressions", "clicks", "conversions") for value in ("4711.0", str(2**63))]
    + [("budget", value) for value in ("NaN", "Infinity", "-Infinity", "1e999", "4711" * 100)],
)
def test_a_wrong_value_is_refused_and_its_field_is_named_without_it(field: str, value: str) -> None:
    said = refusal(spelled(field, value))
    assert f"data.0.{field}: " in said
    assert "4711" not in said


def test_all_fields_of_a_campaign_that_are_wrong_are_told_up_to_three() -> None:
    said = refusal(listing(CAMPAIGN | {"name": 1, "budget": "x", "clicks": None, "status": []}))
    assert [part.split(":")[0] for part in said.split(": ", 1)[1].split("; ")] == [
        "data.0.name",
        "data.0.status",
        "data.0.budget",
        "and 1 more",
    ]


@pytest.mark.parametrize("field", CAMPAIGN)
def test_a_missing_field_is_named(field: str) -> None:
    assert f"data.0.{field}: Field required" in refusal(
        listing({key: CAMPAIGN[key] for key in CAMPAIGN if key != field})
    )


@pytest.mark.parametrize(
    ("pagination", "named"),
    [
        ({"total": -1, "has_more": False}, "pagination.total"),
        ({"total": 2**63, "has_more": False}, "pagination.total"),
        ({"total": "1", "has_more": False}, "pagination.total"),
        ({"total": 1, "has_more": "false"}, "pagination.has_more"),
        ({"total": 1, "has_more": 0}, "pagination.has_more"),
        ({"total": 1}, "pagination.has_more"),
        (None, "pagination"),
    ],
)
def test_a_listing_without_a_sound_pagination_is_refused(pagination: object, named: str) -> None:
    assert f"{named}: " in refusal(json.dumps({"data": [], "pagination": pagination}).encode())


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"'])
def test_json_that_is_no_object_is_refused_in_readable_words(body: bytes) -> None:
    assert refusal(body) == "the platform's answer is not what its API promises: Input should be an object"


WHOLE = listing(CAMPAIGN)


@pytest.mark.parametrize(
    "body",
    [WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE + b"}", b"\xef\xbb\xbf" + WHOLE, WHOLE.decode().encode("utf-16"),
     b'{"data": "\xff"}', b'{"data": "\\ud800"}', b'{"\\ud800": 1}'],
)  # fmt: skip
def test_what_is_not_a_whole_json_text_is_refused(body: bytes) -> None:
    assert "not JSON, or only a part of it" in refusal(body)


@pytest.mark.parametrize("body", [b"", b"<!doctype html><title>Sign in</title>", b"  \n<html>"])
def test_no_json_at_all_is_refused(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '[{"deep": -1e999}]'])
def test_a_number_that_json_does_not_have_is_refused_in_an_unknown_field_too(value: str) -> None:
    assert "NaN or an infinity" in refusal(spelled("extra", value))


@pytest.mark.parametrize("digits", [4300, 4301, 100_000])
@pytest.mark.parametrize("field", ["id", "impressions", "budget", "extra"])
def test_a_huge_integer_breaks_nothing(field: str, digits: int) -> None:
    try:
        assert "9" * digits in read(spelled(field, "9" * digits)).payload
    except BadAnswer as refused:
        assert "99" not in str(refused)  # noqa: PT017 - either is right


@pytest.mark.parametrize("depth", [150, 250, 100_000])
def test_deep_nesting_breaks_nothing(depth: int) -> None:
    try:
        assert "[" * depth in read(spelled("extra", "[" * depth + "]" * depth)).payload
    except BadAnswer as refused:
        assert "not JSON" in str(refused)  # noqa: PT017 - either is right


@pytest.mark.parametrize("item", [b"1", b"{}", b"[]"])
def test_a_body_full_of_wrong_items_does_not_become_as_many_errors_in_memory(item: bytes) -> None:
    body = b'{"data":[' + b",".join([item] * 100_000) + b"]}"
    tracemalloc.start()
    try:
        refusal(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("value", ['""', '"."', '".."', '"a\\u0000b"', f'"{"x" * 256}"', "1.5", "true"])
def test_an_id_that_could_lead_elsewhere_or_not_be_stored_is_refused(value: str) -> None:
    assert "data.0.id: " in refusal(spelled("id", value))


@pytest.mark.parametrize(
    ("value", "id_"), [('"a/b"', "a/b"), ('"..."', "..."), ('"é%2F"', "é%2F"), ("7", "7"), ("-7", "-7")]
)
def test_any_other_id_is_kept_as_text(value: str, id_: str) -> None:
    assert read(spelled("id", value)).id == id_


@pytest.mark.parametrize("field", ["name", "status"])
def test_a_text_with_nul_which_postgresql_can_not_store_is_refused(field: str) -> None:
    assert f"data.0.{field}: " in refusal(spelled(field, '"a\\u0000b"'))


def test_nul_in_an_unknown_field_is_stored_as_an_escape() -> None:
    assert "\x00" not in read(spelled("extra", '"a\\u0000b"')).payload


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_instants_are_in_utc_also_those_without_a_zone(value: str, instant: datetime) -> None:
    created_at = read(listing(CAMPAIGN | {"created_at": value})).created_at
    assert (created_at, created_at and created_at.tzinfo) == (instant, UTC)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_an_instant_that_utc_has_no_year_for_is_refused(value: str) -> None:
    assert "data.0.created_at: " in refusal(listing(CAMPAIGN | {"created_at": value}))


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CAMPAIGNS = st.fixed_dictionaries(
    {key: st.just(value) | ANYTHING for key, value in CAMPAIGN.items()}, optional={"extra": ANYTHING}
)
BODIES = st.builds(listing, CAMPAIGNS, total=st.just(1) | ANYTHING, has_more=st.booleans() | ANYTHING)


@given(body=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()) | BODIES)
def test_no_bytes_make_anything_but_a_page_or_a_bad_answer(body: bytes) -> None:
    try:
        page = read_page(body, 1)
    except BadAnswer:
        return
    for campaign in page.campaigns:
        assert campaign.payload.isascii()
        again = json.loads(campaign.payload, parse_constant=pytest.fail)
        assert read(listing(again)) == campaign  # what is canonical stays so


@given(body=BODIES, cut=st.integers(0, 400), flipped=st.integers(0, 255))
def test_no_damage_to_a_listing_makes_anything_but_a_page_or_a_bad_answer(body: bytes, cut: int, flipped: int) -> None:
    try:
        read_page(body[:cut] + bytes([flipped]) + body[cut + 1 :], 1)
    except BadAnswer:
        return


@given(body=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_anything_but_a_token_a_verdict_on_a_receipt_or_a_bad_answer(body: bytes) -> None:
    with suppress(BadAnswer):
        read_token(body)
    with suppress(BadAnswer):
        denied(parse(body), "cmp-1")


@pytest.mark.parametrize("value", [{"a": [1, "ü", None]}, "\ud800", 12, None, float("inf")])
def test_json_is_parsed_as_it_is(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 90_000, b'{"a":' * 90_000, b"9" * 5000, b"<html>"])
def test_what_cannot_be_parsed_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="not what its API promises"):
        parse(body)


@pytest.mark.parametrize("many", [b"[],", b"{},", b"[", b'{"a":'])
def test_json_of_very_many_objects_is_refused_before_it_is_parsed(many: bytes) -> None:
    with pytest.raises(BadAnswer, match="more than 100,000 lists and objects"):
        parse(b"[" + many * 100_000 + b"0]")


def test_a_token_is_read_with_its_life_in_seconds_and_does_not_show() -> None:
    token, life_s = read_token(b'{"access_token": "abc.DEF-1_2~3+/=", "token_type": "Bearer", "expires_in": 3600}')
    assert (token.get_secret_value(), life_s) == ("abc.DEF-1_2~3+/=", 3600)
    assert "abc" not in repr(token)


@pytest.mark.parametrize("token", ["", "two words", "a\nb", "a\x00b", "tokén", "a\tb", 7, None])
def test_a_token_that_no_header_can_carry_is_refused_without_its_value(token: object) -> None:
    with pytest.raises(BadAnswer) as refused:
        read_token(json.dumps({"access_token": token, "expires_in": 60}).encode())
    assert not token or str(token) not in str(refused.value)


@pytest.mark.parametrize("life", [3600, 3600.0, "3600", "3600.0", " 3600 "])
def test_a_token_s_life_may_be_written_as_text_or_with_a_point(life: object) -> None:
    assert read_token(json.dumps({"access_token": "abc", "expires_in": life}).encode())[1] == 3600


NONSENSE = [0, -1, "0", "-3600", "soon", "", True, False, None, [], {"s": 1}, 10**400, 1e300, "9" * 5000, "nan", "inf"]


@pytest.mark.parametrize("life", [*NONSENSE, float("nan"), float("inf")])
def test_a_token_whose_life_is_not_said_or_makes_no_sense_has_no_known_end(life: object) -> None:
    assert read_token(json.dumps({"access_token": "abc", "expires_in": life}).encode())[1] == math.inf
    assert read_token(b'{"access_token": "abc"}')[1] == math.inf


@pytest.mark.parametrize(
    "receipt",
    [
        {"success": True, "campaign_id": "cmp-1", "synced_at": "2026-01-02T03:04:05Z", "message": "ok"},
        {"success": True, "campaign_id": None, "error": "none worth mentioning"},
        {"success": "true"},
        {"success": 1},
        {"success": None},
        {"campaign_id": "cmp-1", "error": None, "errors": []},
        {"status": "queued"},
        {},
        None,
    ],
)
def test_a_receipt_that_does_not_say_otherwise_is_none_of_a_failure(receipt: object) -> None:
    assert denied(receipt, "cmp-1") is None


def test_an_id_that_is_a_number_is_the_same_as_text() -> None:
    assert denied({"success": True, "campaign_id": 7}, "7") is None


@pytest.mark.parametrize(
    ("receipt", "denial"),
    [
        ({"success": False}, "it says that this was no success"),
        ({"success": "false"}, "it says that this was no success"),
        ({"success": 0, "campaign_id": "cmp-1"}, "it says that this was no success"),
        ({"success": []}, "it says that this was no success"),
        ({"success": True, "campaign_id": "cmp-2"}, "it is the receipt of another campaign"),
        ({"success": True, "campaign_id": "CMP-1"}, "it is the receipt of another campaign"),
        ({"campaign_id": ""}, "it is the receipt of another campaign"),
        ({"success": True, "campaign_id": ["cmp-1"]}, "it is the receipt of another campaign"),
        ({"error": "over budget"}, "it tells of an error"),
        ({"errors": [{"message": "over budget"}]}, "it tells of an error"),
        (True, "its JSON is no object"),
        ([], "its JSON is no object"),
        ("ok", "its JSON is no object"),
    ],
)
def test_a_receipt_that_says_otherwise_tells_how(receipt: object, denial: str) -> None:
    assert denied(receipt, "cmp-1") == denial
