import json
from pathlib import Path
from typing import Any

import pytest

from mock_api.meters import MeteredQuota
from mock_api.options import document, parser
from mock_api.settings import Behaviour, MockSettings, RateLimitForm


def given(*arguments: str) -> Any:  # noqa: ANN401 - any JSON
    return document(parser().parse_args(arguments))


def test_without_options_the_settings_are_the_defaults() -> None:
    assert MockSettings.model_validate(given()) == MockSettings()


def test_options_go_over_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    config = tmp_path / "platform.toml"
    config.write_text('[everyone]\ncampaigns = 7\netag = true\n[clients.sick]\nfault = "hang"\n')
    settings = MockSettings.model_validate(
        given("--config", str(config), "--campaigns", "8", "--no-etag", "--seed", "3")
    )
    assert (settings.everyone.campaigns, settings.everyone.etag, settings.seed) == (8, False, 3)
    assert settings.behaviour("sick").fault == "hang"


def test_the_quota_of_the_platform_is_an_option_too() -> None:
    shared = MockSettings.model_validate(
        given("--platform-quota-requests", "20", "--platform-quota-window-s", "1.5")
    ).shared
    assert shared == MeteredQuota(20, 1.5)


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ([], RateLimitForm.OFF),
        (["--ratelimit-headers"], RateLimitForm.IETF),
        (["--ratelimit-headers", "meta-usage"], RateLimitForm.META_USAGE),
    ],
)
def test_the_form_of_quota_fields_is_an_option_that_alone_means_the_draft(
    arguments: list[str], form: RateLimitForm
) -> None:
    assert MockSettings.model_validate(given(*arguments)).everyone.ratelimit_headers is form


def test_a_file_may_be_json(tmp_path: Path) -> None:
    config = tmp_path / "platform.json"
    config.write_text(json.dumps({"everyone": {"campaigns": 7}}))
    assert given("--config", str(config)) == {"everyone": {"campaigns": 7}}


def test_an_account_is_email_password_and_client_ids() -> None:
    accounts = MockSettings.model_validate(given("--account", "a@example.com:p:=x=acme,other")).accounts
    assert accounts["a@example.com"].password == "p:=x"
    assert accounts["a@example.com"].clients == {"acme", "other"}


def test_an_account_without_client_ids_is_refused() -> None:
    with pytest.raises(SystemExit):
        given("--account", "a@example.com:p")


def test_every_setting_with_a_single_value_has_an_option() -> None:
    text = parser().format_help()
    collections = {
        "accounts",
        "everyone",
        "clients",
        "revisions",
        "deleted",
        "rejected",
        "quotas",
        "hidden",
        "odd",
        "apis",
    }
    for name in (Behaviour.model_fields | MockSettings.model_fields).keys() - collections:
        assert f"--{name.replace('_', '-')}" in text
