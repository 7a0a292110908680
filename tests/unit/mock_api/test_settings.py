import pytest
from pydantic import JsonValue, ValidationError

from mock_api.meters import MeteredQuota
from mock_api.settings import MockSettings, RateLimitForm, merge_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patches_merge_as_in_the_examples_of_rfc_7396(target: JsonValue, patch: JsonValue, result: JsonValue) -> None:
    assert merge_patch(target, patch) == result


def test_what_is_set_for_a_client_id_lies_over_what_is_set_for_everyone() -> None:
    settings = MockSettings.model_validate(
        {"everyone": {"campaigns": 7, "list_hang": 0.5}, "clients": {"sick": {"list_hang": 1, "list_503": 0}}}
    )
    sick, other = settings.behaviour("sick"), settings.behaviour("other")
    assert (sick.campaigns, sick.list_hang) == (7, 1)
    assert (other.campaigns, other.list_hang) == (7, 0.5)


@pytest.mark.parametrize(
    ("value", "form"),
    [(True, RateLimitForm.IETF), (False, RateLimitForm.OFF), ("x-ratelimit", RateLimitForm.X_RATELIMIT)],
)
def test_true_and_false_are_the_form_of_quota_fields_that_there_was_first_and_none(
    value: JsonValue, form: RateLimitForm
) -> None:
    settings = MockSettings.model_validate({"everyone": {"ratelimit_headers": value}})
    assert settings.everyone.ratelimit_headers is form


def test_the_first_quota_and_the_further_ones_all_hold() -> None:
    settings = MockSettings.model_validate({"everyone": {"quotas": [{"requests": 200, "window_s": 3600}]}})
    assert settings.everyone.allowed == (MeteredQuota(10, 60), MeteredQuota(200, 3600))


def test_the_platform_has_a_quota_of_its_own_only_if_one_is_set() -> None:
    assert MockSettings().shared is None
    assert MockSettings(platform_quota_requests=20).shared == MeteredQuota(20, 60)


def test_the_defaults_are_the_conditions_that_the_daemon_is_written_for() -> None:
    usual = MockSettings().behaviour("default")
    assert (usual.quota_requests, usual.quota_window_s, usual.algorithm) == (10, 60, "sliding-log")
    assert (usual.list_503, usual.list_hang, usual.push_latency_s) == (0.2, 0.1, 2)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"everyone": {"campains": 1}}, "everyone.campains"),
        ({"clients": {"sick": {"list_hang": 2}}}, "clients.sick.list_hang"),
        ({"clients": {"sick": {"push_drop": 0.6, "push_hang": 0.6}}}, "clients.sick"),
        ({"clients": []}, "clients"),
        ({"everyone": {"quotas": [{"requests": 0, "window_s": 1}]}}, "everyone.quotas.0.requests"),
        ({"everyone": {"ratelimit_headers": "meta"}}, "everyone.ratelimit_headers"),
        ({"everyone": {"throttle_status": 200}}, "everyone.throttle_status"),
        (["everyone"], ""),
        ({"accounts": {"a@example.com": {"password": "p"}}}, "accounts.a@example.com.clients"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_place(document: JsonValue, place: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        MockSettings.model_validate(document)
    assert [".".join(map(str, error["loc"])) for error in refusal.value.errors()] == [place]
