import json
from typing import Any

import pytest

from mock_api.clients import Verdict
from mock_api.meters import MeteredQuota, Reading
from mock_api.quota_fields import quota_fields
from mock_api.settings import RateLimitForm

NOW = 1_800_000_000.5
MINUTE, HOUR = Reading(MeteredQuota(10, 60), 3, 29.2), Reading(MeteredQuota(200, 3600), 1, 1000)


def fields(
    form: RateLimitForm, *windows: Reading, accepted: bool = True, shared: Reading | None = None
) -> dict[str, Any]:
    return quota_fields(form, "acme", Verdict(accepted, windows, shared), NOW)


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (RateLimitForm.OFF, {}),
        (RateLimitForm.IETF, {"RateLimit-Policy": '"default";q=10;w=60', "RateLimit": '"default";r=3;t=30'}),
        (RateLimitForm.IETF_OLD, {"RateLimit-Policy": "10;w=60", "RateLimit": "limit=10, remaining=3, reset=30"}),
    ],
)
def test_quota_fields_have_the_forms_of_the_drafts(form: RateLimitForm, sent: dict[str, str]) -> None:
    assert fields(form, MINUTE) == sent


@pytest.mark.parametrize(
    ("form", "reset"),
    [
        (RateLimitForm.X_RATELIMIT, "30"),
        (RateLimitForm.X_RATELIMIT_EPOCH_S, "1800000030"),
        (RateLimitForm.X_RATELIMIT_EPOCH_MS, "1800000029700"),
    ],
)
def test_the_reset_of_x_ratelimit_is_a_span_or_an_instant(form: RateLimitForm, reset: str) -> None:
    assert fields(form, MINUTE) == {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": reset}


def test_a_form_with_room_for_several_windows_tells_all_of_them_and_another_the_scarcest() -> None:
    assert fields(RateLimitForm.IETF, MINUTE, HOUR) == {
        "RateLimit-Policy": '"default";q=10;w=60, "3600s";q=200;w=3600',
        "RateLimit": '"default";r=3;t=30, "3600s";r=1;t=1000',
    }
    old = fields(RateLimitForm.IETF_OLD, MINUTE, HOUR)
    assert old == {"RateLimit-Policy": "10;w=60, 200;w=3600", "RateLimit": "limit=200, remaining=1, reset=1000"}
    assert fields(RateLimitForm.X_RATELIMIT, MINUTE, HOUR)["X-RateLimit-Remaining"] == "1"


def test_metas_fields_tell_percentages_and_after_a_refusal_the_minutes_to_wait() -> None:
    sent = fields(RateLimitForm.META_USAGE, MINUTE, HOUR, shared=Reading(MeteredQuota(1000, 60), 999, 60))
    usage = {name: json.loads(value) for name, value in sent.items()}
    assert usage["X-Ad-Account-Usage"] == {"acc_id_util_pct": 70, "reset_time_duration": 30}
    [use_case] = usage["X-Business-Use-Case-Usage"]["acme"]
    assert (use_case["call_count"], use_case["estimated_time_to_regain_access"]) == (100, 0)
    assert usage["X-App-Usage"]["call_count"] == 1
    refused = fields(RateLimitForm.META_USAGE, Reading(MeteredQuota(10, 60), 0, 61, lacks=True), accepted=False)
    [use_case] = json.loads(refused["X-Business-Use-Case-Usage"])["acme"]
    assert use_case["estimated_time_to_regain_access"] == 2
    assert "X-App-Usage" not in refused
