import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import BadAnswer
from adsyncd.platforms.wire import denied, parse, read_token

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


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


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_token_is_read_with_its_life_in_seconds_and_does_not_show(mark: bytes) -> None:
    token, life_s = read_token(
        mark + b'{"access_token": "abc.DEF-1_2~3+/=", "token_type": "Bearer", "expires_in": 3600}'
    )
    assert (token.get_secret_value(), life_s) == ("abc.DEF-1_2~3+/=", 3600)
    assert "abc" not in repr(token)


def test_a_token_that_no_header_has_room_for_is_refused() -> None:
    assert read_token(json.dumps({"access_token": "x" * 8192, "expires_in": 60}).encode())
    with pytest.raises(BadAnswer, match="access_token: "):
        read_token(json.dumps({"access_token": "x" * 8193, "expires_in": 60}).encode())


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


@pytest.mark.parametrize("id_", [7, 7.0, "7"])
def test_an_id_that_is_a_number_is_the_same_as_text(id_: object) -> None:
    assert denied({"success": True, "campaign_id": id_}, "7") is None


@pytest.mark.parametrize(
    ("receipt", "denial"),
    [
        ({"success": False}, "it reports a failure"),
        ({"success": "false"}, "it reports a failure"),
        ({"success": 0, "campaign_id": "cmp-1"}, "it reports a failure"),
        ({"success": []}, "it reports a failure"),
        ({"success": True, "campaign_id": "cmp-2"}, "it is the receipt of another campaign"),
        ({"success": True, "campaign_id": "CMP-1"}, "it is the receipt of another campaign"),
        ({"campaign_id": ""}, "it is the receipt of another campaign"),
        ({"success": True, "campaign_id": ["cmp-1"]}, "it is the receipt of another campaign"),
        ({"error": "over budget"}, "it reports an error"),
        ({"errors": [{"message": "over budget"}]}, "it reports an error"),
        (True, "its JSON is not an object"),
        ([], "its JSON is not an object"),
        ("ok", "its JSON is not an object"),
    ],
)
def test_a_receipt_that_says_otherwise_tells_how(receipt: object, denial: str) -> None:
    assert denied(receipt, "cmp-1") == denial
