from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.feedback import retry_after_s

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


def date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "30"}, b"", 30),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after": date(90)}, b"", 90),
        ({"retry-after": date(90), "date": date(60)}, b"", 30),
        ({"retry-after": date(90), "date": "no date"}, b"", 90),
        ({}, b'{"error": "rate_limited", "retry_after": 12}', 12),
        ({}, b'{"retry_after": "12.5"}', 12.5),
        ({"retry-after": "30"}, b'{"retry_after": 12}', 30),
        ({"retry-after": "soon"}, b'{"retry_after": 12}', 12),
        ({"retry-after": date(-90)}, b'{"retry_after": 12}', 12),
    ],
)
def test_every_form_in_which_a_platform_states_a_wait_is_understood(
    headers: dict[str, str], body: bytes, wait_s: float
) -> None:
    assert retry_after_s(headers, body, NOW) == wait_s


@pytest.mark.parametrize("value", ["", "-5", "0", "nan", "inf", "1e999", "soon", "Wed, 99 Nov 2026 10:00:00 GMT"])
def test_a_header_that_says_nothing_usable_is_ignored(value: str) -> None:
    assert retry_after_s({"retry-after": value}, b"", NOW) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[1]", b'"retry_after"', b'{"retry_after": null}', b'{"retry_after": true}', b"[" * 100_000],
)
def test_a_body_that_says_nothing_usable_is_ignored(body: bytes) -> None:
    assert retry_after_s({}, body, NOW) is None


@given(st.text(), st.text(), st.binary())
def test_no_answer_whatever_breaks_the_reading_or_makes_a_wait_that_is_none(value: str, day: str, body: bytes) -> None:
    wait_s = retry_after_s({"retry-after": value, "date": day}, body, NOW)
    assert wait_s is None or wait_s > 0
