import json
import math
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, ProfileMismatch, Retry
from adsyncd.model.profile import Push, TokenRequest
from adsyncd.platforms.wire import at, denied, parse, read_token
from adsyncd.rate.dialect import Rule

BUILT_IN = shipped_profile()
PUSH = BUILT_IN.push
REQUEST = BUILT_IN.sign_in
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def token_in(body: bytes, request: TokenRequest | None = None, date: str | None = None) -> tuple[SecretStr, float]:
    assert isinstance(REQUEST, TokenRequest)
    return read_token(parse(body), request or REQUEST, date, NOW)


@given(body=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_anything_but_a_token_a_verdict_on_a_receipt_or_a_bad_answer(body: bytes) -> None:
    with suppress(BadAnswer):
        token_in(body)
    with suppress(BadAnswer):
        denied(parse(body), "cmp-1", PUSH)


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
    token, life_s = token_in(mark + b'{"access_token": "abc.DEF-1_2~3+/=", "token_type": "Bearer", "expires_in": 3600}')
    assert (token.get_secret_value(), life_s) == ("abc.DEF-1_2~3+/=", 3600)
    assert "abc" not in repr(token)


def test_a_token_that_no_header_has_room_for_is_refused() -> None:
    assert token_in(json.dumps({"access_token": "x" * 8192, "expires_in": 60}).encode())
    with pytest.raises(BadAnswer, match="access_token: "):
        token_in(json.dumps({"access_token": "x" * 8193, "expires_in": 60}).encode())


@pytest.mark.parametrize("token", ["", "two words", "a\nb", "a\x00b", "tokén", "a\tb", 7, None])
def test_a_token_that_no_header_can_carry_is_refused_without_its_value(token: object) -> None:
    with pytest.raises(BadAnswer) as refused:
        token_in(json.dumps({"access_token": token, "expires_in": 60}).encode())
    assert not token or str(token) not in str(refused.value)


@pytest.mark.parametrize("life", [3600, 3600.0, "3600", "3600.0", " 3600 "])
def test_a_token_s_life_may_be_written_as_text_or_with_a_point(life: object) -> None:
    assert token_in(json.dumps({"access_token": "abc", "expires_in": life}).encode())[1] == 3600


NONSENSE = [0, -1, "0", "-3600", "soon", "", True, False, None, [], {"s": 1}, 10**400, 1e300, "9" * 5000, "nan", "inf"]


@pytest.mark.parametrize("life", [*NONSENSE, float("nan"), float("inf")])
def test_a_token_whose_life_is_not_said_or_makes_no_sense_has_no_known_end(life: object) -> None:
    assert token_in(json.dumps({"access_token": "abc", "expires_in": life}).encode())[1] == math.inf
    assert token_in(b'{"access_token": "abc"}')[1] == math.inf


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
    assert denied(receipt, "cmp-1", PUSH) is None


@pytest.mark.parametrize("id_", [7, 7.0, "7"])
def test_an_id_that_is_a_number_is_the_same_as_text(id_: object) -> None:
    assert denied({"success": True, "campaign_id": id_}, "7", PUSH) is None


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
    assert denied(receipt, "cmp-1", PUSH) == denial


RECEIPT = Push("POST", "/x", succeeded=Rule(None, "result.code", (0, "OK", range(200, 300))), confirms="result.id")


@pytest.mark.parametrize(
    ("receipt", "denial"),
    [
        ({"result": {"code": 0, "id": "cmp-1"}}, None),
        ({"result": {"code": "0"}}, None),
        ({"result": {"code": "ok"}}, None),
        ({"result": {"code": 204}}, None),
        ({"result": {}}, None),
        ({"success": False, "campaign_id": "cmp-2"}, None),  # its words mean nothing there
        ({"result": {"code": 300}}, "it reports a failure"),
        ({"result": {"code": "204"}}, "it reports a failure"),
        ({"result": {"code": 0, "id": "cmp-2"}}, "it is the receipt of another campaign"),
        ({"result": [], "error": "x"}, "it reports an error"),
    ],
)
def test_a_receipt_is_read_where_the_profile_says(receipt: object, denial: str | None) -> None:
    assert denied(receipt, "cmp-1", RECEIPT) == denial


def test_without_rules_for_receipts_only_an_error_denies() -> None:
    assert denied({"success": False, "campaign_id": "cmp-2"}, "cmp-1", Push("POST", "/x")) is None
    assert denied({"errors": ["x"]}, "cmp-1", Push("POST", "/x")) == "it reports an error"


@pytest.mark.parametrize(("path", "found"), [("a", {"b": [1]}), ("a.b", [1]), ("a.b.c", None), ("c.d", None)])
def test_a_path_leads_through_objects(path: str, found: object) -> None:
    assert at({"a": {"b": [1]}}, path) == found


def test_a_path_to_a_token_that_leads_nowhere_is_told_with_the_keys_beside_and_not_retried() -> None:
    request = TokenRequest("POST", "/token", token="data.auth.token")
    for body, level, names in (
        (b'{"token": "x", "id": 1}', "", ("token", "id")),
        (b'{"data": {"auth": {"access": "x"}}}', "data.auth", ("access",)),
        (b'{"data": {"auth": null}}', "data", ("auth",)),
    ):
        with pytest.raises(ProfileMismatch, match=r"data\.auth\.token leads to nothing$") as mismatch:
            token_in(body, request)
        assert (mismatch.value.level, mismatch.value.names, mismatch.value.retry) == (level, names, Retry.NEVER)
    for body in (b"[]", b'"token"', b"null"):
        with pytest.raises(BadAnswer, match="it should be an object") as bad:
            token_in(body, request)
        assert bad.value.retry is Retry.AGAIN


ENDS = TokenRequest("POST", "/t", token="t", expires_in="life.s", expires_at="end", life=timedelta(hours=12))


@pytest.mark.parametrize(
    ("said", "life_s"),
    [
        ({"life": {"s": 60}, "end": "2026-11-25T13:00:00Z"}, 60),
        ({"life": {"s": "nonsense"}, "end": "2026-11-25T13:00:00Z"}, 3600),
        ({"end": "2026-11-25T14:00:00+01:00"}, 3600),
        ({"end": NOW.timestamp() + 90}, 90),
        ({"end": (NOW.timestamp() + 90) * 1000}, 90),
        ({"end": "2026-11-25T11:59:59Z"}, 12 * 3600),
        ({"end": "soon"}, 12 * 3600),
        ({"end": [], "life": 7}, 12 * 3600),
        ({}, 12 * 3600),
    ],
)
def test_a_token_s_life_is_what_is_stated_first(said: dict[str, object], life_s: float) -> None:
    assert token_in(json.dumps({"t": "abc"} | said).encode(), ENDS)[1] == life_s


def test_the_end_of_a_token_counts_from_the_platform_s_own_clock() -> None:
    request, body = replace(ENDS, life=None), b'{"t": "abc", "end": "2026-11-25T13:00:00Z"}'
    assert token_in(body, request, "Wed, 25 Nov 2026 12:30:00 GMT")[1] == 1800
    assert token_in(body, request, "not a date")[1] == 3600
    assert token_in(b'{"t": "abc"}', replace(request, expires_in=None, expires_at=None))[1] == math.inf
