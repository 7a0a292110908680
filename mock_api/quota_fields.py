"""Header fields with the state of the quotas, in the forms that platforms use."""

import json
import math
from collections.abc import Callable, Mapping

from mock_api.clients import Verdict
from mock_api.meters import Reading
from mock_api.settings import RateLimitForm

Fields = dict[str, str]


def quota_fields(form: RateLimitForm, client_id: str, verdict: Verdict, now: float) -> Fields:
    """Return the fields of an answer to a request of `client_id` that came at `now`. Times are rounded up."""
    return _FORMS[form](client_id, verdict, now)


def _none(_client_id: str, _verdict: Verdict, _now: float) -> Fields:
    return {}


def _ietf(_client_id: str, verdict: Verdict, _now: float) -> Fields:
    windows = [(reading, _name(number, reading)) for number, reading in enumerate(verdict.windows)]
    policies = (f'"{name}";q={each.quota.requests};w={math.ceil(each.quota.window_s)}' for each, name in windows)
    limits = (f'"{name}";r={each.remaining};t={math.ceil(each.reset_s)}' for each, name in windows)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}


def _ietf_old(_client_id: str, verdict: Verdict, _now: float) -> Fields:
    scarcest = _scarcest(verdict)
    policies = (f"{each.quota.requests};w={math.ceil(each.quota.window_s)}" for each in verdict.windows)
    limit = f"limit={scarcest.quota.requests}, remaining={scarcest.remaining}, reset={math.ceil(scarcest.reset_s)}"
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": limit}


def _x_ratelimit(reset: Callable[[float, float], float]) -> Callable[[str, Verdict, float], Fields]:
    """Return the form whose X-RateLimit-Reset is made of the reset, in seconds from now, and of now."""

    def fields(_client_id: str, verdict: Verdict, now: float) -> Fields:
        scarcest = _scarcest(verdict)
        return {
            "X-RateLimit-Limit": str(scarcest.quota.requests),
            "X-RateLimit-Remaining": str(scarcest.remaining),
            "X-RateLimit-Reset": str(math.ceil(reset(scarcest.reset_s, now))),
        }

    return fields


def _meta_usage(client_id: str, verdict: Verdict, _now: float) -> Fields:
    """Take the first window for an ad account's, all of them for one business use case, the platform's for an app's."""
    account = verdict.windows[0]
    use_case = {
        "type": "ads_management",
        "call_count": max(_percentage(reading) for reading in verdict.windows),
        "total_cputime": 0,
        "total_time": 0,
        "estimated_time_to_regain_access": 0 if verdict.accepted else math.ceil(verdict.wait_s / 60),
    }
    fields: dict[str, object] = {
        "X-Ad-Account-Usage": {
            "acc_id_util_pct": _percentage(account),
            "reset_time_duration": math.ceil(account.reset_s),
        },
        "X-Business-Use-Case-Usage": {client_id: [use_case]},
    }
    if verdict.platform:
        fields["X-App-Usage"] = {"call_count": _percentage(verdict.platform), "total_cputime": 0, "total_time": 0}
    return {name: json.dumps(value) for name, value in fields.items()}


_FORMS: Mapping[RateLimitForm, Callable[[str, Verdict, float], Fields]] = {
    RateLimitForm.OFF: _none,
    RateLimitForm.IETF: _ietf,
    RateLimitForm.IETF_OLD: _ietf_old,
    RateLimitForm.X_RATELIMIT: _x_ratelimit(lambda reset_s, _: reset_s),
    RateLimitForm.X_RATELIMIT_EPOCH_S: _x_ratelimit(lambda reset_s, now: now + reset_s),
    RateLimitForm.X_RATELIMIT_EPOCH_MS: _x_ratelimit(lambda reset_s, now: (now + reset_s) * 1000),
    RateLimitForm.META_USAGE: _meta_usage,
}


def _scarcest(verdict: Verdict) -> Reading:
    """Return the window that a form tells of which has room for one."""
    return min(verdict.windows, key=lambda reading: (reading.remaining, -reading.reset_s))


def _name(number: int, reading: Reading) -> str:
    return f"{reading.quota.window_s:g}s" if number else "default"


def _percentage(reading: Reading) -> int:
    """Return how much is used up, rounded up."""
    return 100 - math.floor(100 * reading.remaining / reading.quota.requests)
