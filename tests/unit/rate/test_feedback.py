import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.config.profile_file import shipped_names, shipped_profile
from adsyncd.rate import feedback
from adsyncd.rate.dialect import STANDARD, Counter, Dialect, Period, Rule, Unit, Usage
from adsyncd.rate.feedback import Limit, Said
from adsyncd.rate.stated_time import LONGEST_S

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
EPOCH_S = int(NOW.timestamp())

dialects = pytest.mark.parametrize("name", shipped_names())


def read(status: int, headers: dict[str, str], body: bytes, dialect: Dialect = STANDARD) -> Said:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    return feedback.read(status, headers, data, NOW, dialect)


def date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


def limits(headers: dict[str, str], dialect: Dialect = STANDARD) -> tuple[Limit, ...]:
    return read(200, headers, b"", dialect).limits


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "30"}, b"", 30),
        ({"Retry-After": " 1.5 "}, b"", 1.5),
        ({"retry-after": date(90)}, b"", 90),
        ({"retry-after": date(90), "date": date(60)}, b"", 30),
        ({"retry-after": date(90), "date": "no date"}, b"", 90),
        ({"retry-after": str(EPOCH_S + 90)}, b"", 90),
        ({}, b'{"error": "rate_limited", "retry_after": 12}', 12),
        ({}, b'{"retry_after": "12.5"}', 12.5),
        ({}, b'{"retry_after": "12.5s"}', 12.5),
        ({}, b'{"retry_after": "0m12s"}', 12),
        ({}, b'{"retry_after": "2026-11-25T10:00:12Z"}', 12),
        ({"retry-after": "5, 2"}, b"", 5),
        ({"retry-after": "30"}, b'{"retry_after": 12}', 30),
        ({"retry-after": "soon"}, b'{"retry_after": 12}', 12),
        ({"retry-after": date(-90)}, b'{"retry_after": 12}', 12),
    ],
)
def test_every_form_in_which_a_platform_states_a_wait_is_understood(
    headers: dict[str, str], body: bytes, wait_s: float
) -> None:
    assert read(503, headers, body) == Said(wait_s)
    assert read(429, headers, body) == Said(wait_s, throttled=True)


@pytest.mark.parametrize(
    "value",
    ["", "-5", "0", "nan", "inf", "1e999", "1_0", "0x1f", "\u0663", "soon", "9" * 400, "Wed, 99 Nov 2026 10:00:00 GMT"],
)
def test_a_header_that_says_nothing_usable_is_ignored(value: str) -> None:
    assert read(503, {"retry-after": value}, b"") == Said()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[1]", b'"retry_after"', b'{"retry_after": null}', b'{"retry_after": true}', b"\xff"),
        *(b'{"retry_after": {}}', b'{"retry_after": NaN}', b'{"retry_after": 1e999}', b'{"retry_after": -1}'),
        *(b'{"retry_after": 1' + b"0" * 400 + b"}", b"[" * 100_000),
    ],
)
def test_a_body_that_says_nothing_usable_is_ignored(body: bytes) -> None:
    assert read(503, {}, body) == Said()


def test_waits_are_looked_for_in_the_order_of_the_dialect_in_their_unit_and_the_longest_of_an_array_counts() -> None:
    dialect = replace(
        STANDARD,
        wait_headers=("x-wait", "retry-after"),
        waits=(Period("errors.retry.ms", Unit.MILLISECONDS), Period("limits.*.pause", Unit.MINUTES)),
    )
    errors = [{"retry": {"ms": 500}}, {"retry": [{"ms": 1500}, {}]}, 7]
    body = json.dumps({"errors": errors, "limits": {"a": {"pause": 1}, "b": {"pause": 2}}}).encode()
    assert read(503, {"retry-after": "3", "X-Wait": "4"}, body, dialect).wait_s == 4
    assert read(503, {"retry-after": "3"}, body, dialect).wait_s == 3
    assert read(503, {}, body, dialect).wait_s == 1.5
    assert read(503, {}, body.replace(b"ms", b"_"), dialect).wait_s == 120


def test_the_body_of_a_success_states_no_wait() -> None:
    assert read(200, {}, b'{"retry_after": 12}') == Said()


@pytest.mark.parametrize("value", ["86401", "1" + "0" * 300, str(EPOCH_S + 10**7), date(10**7)])
def test_an_absurd_time_is_capped(value: str) -> None:
    assert read(429, {"retry-after": value}, b"").wait_s == LONGEST_S
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": value}
    assert limits(headers) == (Limit(remaining=0, reset_s=LONGEST_S),)


MINUTE = Limit(remaining=5, reset_s=30, requests=10, window_s=60)
HOUR = Limit(remaining=150, reset_s=3000, requests=200, window_s=3600)


@pytest.mark.parametrize(
    ("ratelimit", "policy", "told"),
    [
        ('"default";r=5;t=30', '"default";q=10;w=60', (MINUTE,)),
        ("default;r=5;t=30", "default;q=10;w=60", (MINUTE,)),
        ('"default" ; r=5 ; t=30', '"default"; q=10; w=60; pk=:Y2xpZW50:', (MINUTE,)),
        ('"a";r=5;t=30, "b";r=150;t=3000', '"b";q=200;w=3600, "a";q=10;w=60', (MINUTE, HOUR)),
        ('"a, b;r=1";r=5;t=30', '"a, b;r=1";q=10;w=60', (MINUTE,)),
        ('"a";r=5;t=30', '"a";q=10;w=60, "b";q=200;w=3600', (MINUTE, Limit(requests=200, window_s=3600))),
        ('"a";r=5;t=30', '"b";q=200;w=3600', (Limit(5, 30), Limit(requests=200, window_s=3600))),
        ('"a";r=5;t=30', "", (Limit(5, 30),)),
        ('"a";r=5', "", (Limit(5),)),
        ("", '"a";q=10;w=60', (Limit(requests=10, window_s=60),)),
        ('"bytes";r=5;t=30, "a";r=5;t=30', '"bytes";q=10;w=60;qu="content-bytes", "a";q=10;w=60', (MINUTE,)),
        ('"a";r=0;t=0', '"a";q=10;w=60', (Limit(requests=10, window_s=60),)),
        ("limit=10, remaining=5, reset=30", "10;w=60", (MINUTE,)),
        ("limit=10,remaining=5,reset=30", "10;w=60, 200;w=3600", (MINUTE, Limit(requests=200, window_s=3600))),
        ("limit=10, remaining=5, reset=30", "", (Limit(5, 30, 10),)),
        ("remaining=5", "", (Limit(5),)),
        ('"a";r=-1;t=30, "b";r=many, "c";q=1, ;;, "', '"a";q=-1;w=60, "b";q=0;w=60, "c";w=60', ()),
        ('"a";r=5;t=-30', "", (Limit(5),)),
        ('"a";r=5;t=30', '"a";q=10;w=0', (Limit(5, 30, 10),)),
        ('"a";r=5;t=30', '"a";q=10;w=1' + "0" * 30, (Limit(5, 30, 10, 366 * 86_400),)),
    ],
)
def test_the_fields_of_the_draft_are_understood_in_its_old_form_and_its_new_one(
    ratelimit: str, policy: str, told: tuple[Limit, ...]
) -> None:
    assert limits({"RateLimit": ratelimit, "RateLimit-Policy": policy}) == told


@pytest.mark.parametrize("prefix", ["X-RateLimit", "X-Rate-Limit", "RateLimit", "x-ratelimit"])
@pytest.mark.parametrize(
    ("requests", "remaining", "reset", "told"),
    [
        ("10", "5", "30", Limit(5, 30, 10)),
        ("10", "5", str(EPOCH_S + 30), Limit(5, 30, 10)),
        ("10", "5", str((EPOCH_S + 30) * 1000), Limit(5, 30, 10)),
        ("10", "5", date(30), Limit(5, 30, 10)),
        ("10", "5", "2026-11-25T10:00:30Z", Limit(5, 30, 10)),
        ("10", "5", "0m30s", Limit(5, 30, 10)),
        ("10", "5.9", "30.5", Limit(5, 30.5, 10)),
        ("10", "5", "", Limit(5, None, 10)),
        ("", "0", "30", Limit(0, 30)),
        ("0", "5", "30", Limit(5, 30)),
        ("10, 10;w=60", "5", "30", MINUTE),
        ("unlimited", "5", "soon", Limit(5)),
    ],
)
def test_counters_are_understood_whatever_their_reset_is(
    prefix: str, requests: str, remaining: str, reset: str, told: Limit
) -> None:
    headers = {f"{prefix}-Limit": requests, f"{prefix}-Remaining": remaining, f"{prefix}-Reset": reset}
    assert limits(headers) == (told,)


@pytest.mark.parametrize("reset", ["0", str(EPOCH_S), str(EPOCH_S - 5), str((EPOCH_S - 5) * 1000), date(-5)])
def test_what_remained_of_a_window_that_is_over_says_nothing(reset: str) -> None:
    assert limits({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}) == ()


def test_a_refusal_that_states_a_reset_alone_says_that_nothing_is_left_until_then() -> None:
    headers = {"x-ratelimit-reset": "30"}
    assert read(429, headers, b"") == Said(throttled=True, limits=(Limit(0, 30),))
    assert read(503, headers, b"") == Said()


def test_an_instant_is_counted_from_the_answers_own_date() -> None:
    headers = {"x-ratelimit-remaining": "5", "x-ratelimit-reset": str(EPOCH_S + 90), "date": date(60)}
    assert limits(headers) == (Limit(5, 30),)


def test_several_counters_are_several_limits_and_one_told_twice_is_one() -> None:
    daily = Counter("x-daily-left", "x-daily")
    dialect = replace(STANDARD, counters=(*STANDARD.counters, daily))
    twice = {"x-ratelimit-remaining": "5", "x-rate-limit-remaining": "5"}
    assert limits({**twice, "X-Daily": "1000", "X-Daily-Left": "7"}, dialect) == (Limit(5), Limit(7, None, 1000))


BUSINESS = {"call_count": 95, "total_cputime": 20, "total_time": 20, "estimated_time_to_regain_access": 0}


@pytest.mark.parametrize(
    ("header", "usage", "told"),
    [
        ("X-App-Usage", {"call_count": 28, "total_time": 25, "total_cputime": 31}, (Limit(used=0.31),)),
        ("X-Ad-Account-Usage", {"acc_id_util_pct": 12.5, "reset_time_duration": 100}, (Limit(None, 100, used=0.125),)),
        ("X-Ad-Account-Usage", {"acc_id_util_pct": 12.5, "reset_time_duration": 0}, (Limit(used=0.125),)),
        (
            "X-Business-Use-Case-Usage",
            {
                "1": [BUSINESS, BUSINESS | {"type": "ads_management", "call_count": 3}],
                "2": [BUSINESS | {"call_count": 120}],
            },
            (Limit(used=0.95), Limit(used=0.2), Limit(used=1)),
        ),
        ("X-App-Usage", {"call_count": "many"}, ()),
        ("X-App-Usage", [], ()),
        ("X-Business-Use-Case-Usage", {"1": 7, "2": []}, ()),
    ],
)
def test_usage_percentages_are_understood(header: str, usage: object, told: tuple[Limit, ...]) -> None:
    assert limits({header: json.dumps(usage)}) == told


def test_usage_says_in_minutes_when_access_comes_back_unless_something_better_does() -> None:
    blocked = BUSINESS | {"call_count": 100, "estimated_time_to_regain_access": 3}
    headers = {"X-Business-Use-Case-Usage": json.dumps({"1": [blocked, BUSINESS]})}
    expected = Said(180, throttled=True, limits=(Limit(None, 180, used=1), Limit(used=0.95)))
    assert read(429, headers, b"") == expected
    assert read(429, headers | {"retry-after": "7"}, b"") == replace(expected, wait_s=7)


def test_usage_headers_are_data() -> None:
    usage = Usage("x-load", ("points",), each="windows.*", reset=Period("left", Unit.MINUTES))
    dialect = replace(STANDARD, usages=(usage,))
    load = json.dumps({"windows": {"day": {"points": 50, "left": 2}}})
    assert limits({"X-Load": load, "X-App-Usage": '{"call_count": 1}'}, dialect) == (Limit(None, 120, used=0.5),)


def test_what_counts_requests_goes_before_percentages_and_the_draft_before_other_counters() -> None:
    told: dict[str, str] = {}
    for headers, limit in (
        ({"X-App-Usage": '{"call_count": 28}'}, Limit(used=0.28)),
        ({"X-RateLimit-Remaining": "4"}, Limit(4)),
        ({"RateLimit": '"a";r=5'}, Limit(5)),
    ):
        told |= headers
        assert limits(told) == (limit,)


def test_a_flood_of_limits_is_cut_off() -> None:
    assert len(limits({"RateLimit": ", ".join(f'"{n}";r={n}' for n in range(10_000))})) == 32
    assert len(limits({"X-App-Usage": json.dumps([{"call_count": n / 100} for n in range(1, 9_000)])})) == 32


@pytest.mark.parametrize(
    ("rule", "status", "body", "throttled"),
    [
        (Rule(420), 420, b"", True),
        (Rule(420), 400, b"", False),
        (Rule(None, "code", ("rate_limit",)), 403, b'{"code": "rate_limit"}', True),
        (Rule(None, "code", ("rate_limit",)), 200, b'{"code": "rate_limit"}', True),
        (Rule(None, "code", ("rate_limit",)), 200, b'{"code": "ok"}', False),
        (Rule(200, "code", ("rate_limit",)), 200, b'{"code": "rate_limit"}', True),
        (Rule(400, "errors.code", (17,)), 400, b'{"errors": [{"code": 1}, {"code": 17}]}', True),
        (Rule(400, "errors.code", (17,)), 400, b'{"errors": [{"code": 1}, {"code": "17"}]}', False),
        (Rule(400, "code", (range(10, 20),)), 400, b'{"code": 19}', True),
        (Rule(400, "code", (range(10, 20),)), 400, b'{"code": 20}', False),
        (Rule(400, "code", (range(10**9),)), 400, b'{"code": 1e8}', False),
        (Rule(400, "code", (1,)), 400, b'{"code": true}', False),
        (Rule(400, "code", (range(2),)), 400, b'{"code": true}', False),
        (Rule(400, "code", (True,)), 400, b'{"code": true}', True),
        (Rule(400, "code", (True,)), 400, b'{"code": 1}', False),
        (Rule(400, "code", (1,)), 400, b'{"code": [[1]]}', False),
        (Rule(400, "code", (1,)), 400, b"nothing", False),
    ],
)
def test_a_refusal_is_known_by_its_status_and_its_body(
    rule: Rule, status: int, body: bytes, *, throttled: bool
) -> None:
    assert read(status, {}, body, replace(STANDARD, throttling=(rule,))).throttled is throttled


@pytest.mark.parametrize(("code", "wait_s"), [("busy", 7), ("ok", None)])
def test_a_wait_in_the_body_counts_in_a_refusal_alone_even_under_status_200(code: str, wait_s: float | None) -> None:
    dialect = replace(STANDARD, throttling=(Rule(200, "code", ("busy",)),))
    assert read(200, {}, json.dumps({"code": code, "retry_after": 7}).encode(), dialect).wait_s == wait_s


def test_an_answer_is_read_whether_it_is_a_success_or_a_failure() -> None:
    headers = {"RateLimit": '"default";r=5;t=30', "RateLimit-Policy": '"default";q=10;w=60'}
    assert {read(status, headers, b"").limits for status in (200, 304, 404, 429, 500, 503)} == {(MINUTE,)}


names = st.sampled_from(
    [
        *("retry-after", "date", "ratelimit", "ratelimit-policy"),
        *(name for counter in STANDARD.counters for name in (counter.remaining, counter.requests, counter.reset)),
        *(usage.header for usage in STANDARD.usages),
    ]
)
pieces = st.sampled_from([*'"\\;,=rqwt-. {[', "e9", "limit=", "remaining=", "qu=", "5", "00"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("call_count", "acc_id_util_pct", "reset_time_duration", "estimated_time_to_regain_access"),
                    *("retry_after", "error", "code", "details", "errors"),
                ]
            ),
            inner,
            max_size=3,
        )
    ),
)
values = st.text() | st.lists(pieces).map("".join) | json_values.map(json.dumps)


@dialects
@given(
    status=st.integers(100, 599),
    headers=st.dictionaries(names | st.text(), values, max_size=6),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_no_answer_whatever_breaks_the_reading_or_says_what_can_not_be(
    name: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    said = read(status, headers, body, shipped_profile(name).dialect)
    assert said.wait_s is None or 0 < said.wait_s <= LONGEST_S
    assert status != 429 or said.throttled
    for limit in said.limits:
        assert limit.remaining is None or limit.remaining >= 0
        assert limit.requests is None or limit.requests >= 1
        assert limit.reset_s is None or 0 < limit.reset_s <= LONGEST_S
        assert limit.window_s is None or limit.window_s > 0
        assert limit.used is None or 0 <= limit.used <= 1
        assert (limit.remaining, limit.window_s, limit.used) != (None, None, None)


@pytest.mark.parametrize("hostile", ['"\\' * 50_000, '"' * 100_000, "[" * 100_000, '{"a":' * 50_000, ",;=" * 30_000])
def test_hostile_headers_take_no_time_worth_mentioning(hostile: str) -> None:
    every: dict[str, Any] = dict.fromkeys(
        ["retry-after", "date", "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-app-usage"], hostile
    )
    assert read(429, every, hostile.encode(), shipped_profile("meta").dialect).limits == ()
