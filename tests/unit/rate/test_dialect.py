from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adsyncd.config.profile_file import shipped_names, shipped_profile
from adsyncd.rate.dialect import STANDARD, Counter, Dialect
from adsyncd.rate.feedback import Limit, Said, read

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
X_ADS = replace(
    STANDARD,
    counters=(
        *STANDARD.counters,
        Counter("x-account-rate-limit-remaining", "x-account-rate-limit-limit", "x-account-rate-limit-reset"),
    ),
)


def said(dialect: Dialect, status: int, headers: dict[str, str], body: object) -> Said:
    return read(status, headers, body, NOW, dialect)


def of(profile: str, status: int, body: object) -> Said:
    return said(shipped_profile(profile).dialect, status, {}, body)


@pytest.mark.parametrize("profile", shipped_names())
def test_every_profile_has_a_dialect_whose_header_fields_are_in_lower_case(profile: str) -> None:
    dialect = shipped_profile(profile).dialect
    counted = [name for each in dialect.counters for name in (each.requests, each.remaining, each.reset)]
    names = [*dialect.wait_headers, *counted, *(usage.header for usage in dialect.usages)]
    assert names == [name.lower() for name in names]


@pytest.mark.parametrize("code", [4, 17, 32, 613, 80_000, 80_004, 80_014])
@pytest.mark.parametrize("status", [200, 400, 403])
def test_meta_refuses_by_codes_under_any_status(code: int, status: int) -> None:
    body = {"error": {"message": "User request limit reached", "type": "OAuthException", "code": code}}
    assert of("meta", status, body).throttled
    assert not said(STANDARD, status, {}, body).throttled


@pytest.mark.parametrize(
    "body", [{"error": {"code": 190}}, {"error": {"code": 80_015}}, {"error": "17"}, {"code": 17}, [], None]
)
def test_other_failures_of_meta_are_no_refusals(body: object) -> None:
    assert not of("meta", 400, body).throttled


def test_google_tells_the_wait_deep_in_the_body() -> None:
    error = {
        "errorCode": {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"},
        "details": {"quotaErrorDetails": {"rateName": "Requests per account", "retryDelay": "5.5s"}},
    }
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"errors": [error]}]}}
    assert of("google-ads", 429, body) == Said(wait_s=5.5, throttled=True)


def test_tiktok_refuses_with_a_success() -> None:
    assert of("tiktok", 200, {"code": 40_100, "message": "Too many requests", "data": {}}).throttled
    assert not of("tiktok", 200, {"code": 0, "message": "OK", "data": {}}).throttled


def test_x_counts_an_ad_account_beside_the_user() -> None:
    headers = {"x-rate-limit-limit": "10000", "x-rate-limit-remaining": "9999", "x-rate-limit-reset": "900"}
    account = {f"x-account-{name[2:]}": value for name, value in headers.items()} | {
        "x-account-rate-limit-remaining": "2"
    }
    limits = said(X_ADS, 200, headers | account, {}).limits
    assert limits == (Limit(9999, 900, 10_000), Limit(2, 900, 10_000))
    assert said(STANDARD, 200, headers | account, None).limits == limits[:1]
