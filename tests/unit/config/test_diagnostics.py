import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adsyncd.config import Settings, TenantFile
from adsyncd.config.diagnostics import Diagnostic, diagnose, in_order, key_name, known_keys
from adsyncd.config.field_types import ConfigTable
from adsyncd.errors import Problem

CANARY = "canary-4b1d"
DURATION = 'expected a duration such as "15m", "1h30m" or "250ms"'
CLIENT_ID = "expected 1 to 256 visible ASCII characters, and not . or .."
LONG = f'{CLIENT_ID}, got "{"a b" * 19}a ...'


def found(model: type[ConfigTable], data: dict[str, Any]) -> dict[str, Diagnostic]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    assert CANARY not in str(caught.value)
    return {".".join(fault.key): fault for fault in diagnose(caught.value, model)}


def of_tenant(**keys: object) -> dict[str, Diagnostic]:
    """Return what is wrong with a drop-in that would be right without `keys`."""
    return found(TenantFile, {"client_id": "acme", "platform": "mixo", "credentials": {"env": "ACME"}} | keys)


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("schedule.every = 15", 'expected a duration such as "15m", got 15', 'for example every = "15m"'),
        ('sync.timeout = "ten"', f'{DURATION}, got "ten"', 'for example timeout = "10s"'),
        ('enabled = "yes"', 'expected true or false, got "yes"', "for example enabled = true"),
        ('sync.page_size = "10"', 'expected a whole number, got "10"', "for example page_size = 10"),
        ('sync.concurrency = "auto"', 'expected a whole number, got "auto"', "for example concurrency = 5"),
        ("sync.page_size = 0", "must be at least 1, got 0", "for example page_size = 10"),
        ("sync.max_attempts = 21", "must be at most 20, got 21", None),
        ('sync.push = "no"', 'expected "all", "changed" or "none", got "no"', 'for example push = "all"'),
        ("sync = 5", "expected a table, got 5", ""),
        ('client_id = ["a"]', "expected text in quotes, got an array", 'for example client_id = "acme"'),
        ("alerts.min_success_rate = {}", "expected a number, got a table", None),
        ("alerts.min_success_rate = nan", "expected a number, got nan", None),
        ("schedule = {}", "needs exactly one of every and cron", 'for example schedule = { every = "15m" }'),
        ("sync.page_sise = 5", "unknown key", 'did you mean "page_size"?'),
        ("page_size = 5", "unknown key", 'did you mean "sync.page_size"?'),
        ("alerts.x = 5", "unknown key", "known keys are failures, min_success_rate"),
        (f'client_id = "{"a b" * 50}"', LONG, None),
        ('client_id = ".."', f'{CLIENT_ID}, got ".."', None),
    ],
)
def test_a_mistake_is_told_in_plain_words_with_what_would_be_right(text: str, what: str, fix: str | None) -> None:
    [(at, fault)] = of_tenant(**tomllib.loads(text)).items()
    assert (at, fault.what) == (text.partition(" =")[0], what)
    if fix is not None:
        assert fault.fix == fix


def test_a_missing_key_is_told_with_an_example() -> None:
    missing = Diagnostic(("quota", "per"), "is missing", 'add per = "60s"')
    assert of_tenant(quota={"requests": 5}) == {"quota.per": missing}


def test_keys_are_told_as_the_file_spells_them() -> None:
    auth = {"method": "token", "token": {"env": "1"}, "role_id": "x"}
    diagnose = found(
        Settings,
        {
            "vault": {"address": "https://vault.example.com", "auth": auth},
            "platforms": {"Mixo": {"base_url": "https://ads.example.com"}, "b": {"bse_url": "x"}},
        },
    )
    assert set(diagnose) == {
        "vault.auth.token.env", "vault.auth.role_id", "platforms.Mixo", "platforms.b.base_url", "platforms.b.bse_url",
    }  # fmt: skip
    assert diagnose["vault.auth.role_id"].fix == "it belongs to another method: remove it"
    assert diagnose["platforms.b.bse_url"].fix == 'did you mean "base_url"?'


@pytest.mark.parametrize(
    ("auth", "what"),
    [
        ({}, "must have a method"),
        ({"method": "oauth"}, 'must have one of the methods "approle", "token"'),
        (CANARY, "expected a table, got a hidden value"),
    ],
)
def test_a_sign_in_of_no_known_kind_is_refused(auth: object, what: str) -> None:
    diagnose = found(Settings, {"vault": {"address": "https://vault.example.com", "auth": auth}})
    assert diagnose["vault.auth"].what == what


@pytest.mark.parametrize(
    "data",
    [
        {"credentials": CANARY},
        {"credentials": {"env": f"{CANARY}!"}},
        {"credentials": {"vault": f"{CANARY}!"}},
        {"password": CANARY},
        {"store": {"url": f"mysql://u:{CANARY}@h"}},
        {"platforms": {"mixo": {"base_url": f"https://u:{CANARY}@h"}}},
        {"vault": {"address": f"https://u:{CANARY}@h", "token": CANARY}},
        {"vault": {"auth": {"method": "token", "token": CANARY}}},
        {"vault": {"auth": {"method": "token", "token": {"env": f"{CANARY}!"}}}},
        {"vault": {"auth": {"method": "approle", "role_id": "r", "secret_id": CANARY}}},
        {"vault": {"auth": {"method": "approle", "role_id": "r", "secret_id": [CANARY]}}},
    ],
)
def test_no_secret_is_repeated(data: dict[str, Any]) -> None:
    for model in (Settings, TenantFile):
        assert CANARY not in str(found(model, data))


def test_known_keys_are_those_of_all_tables_with_a_placeholder_for_names() -> None:
    keys = set(known_keys(Settings))
    assert {("store", "url"), ("vault", "auth", "token", "env"), ("platforms", "*", "quota", "per")} <= keys
    assert ("defaults", "sync", "page_size") in keys


def test_problems_are_in_the_order_of_files_and_lines() -> None:
    ordered = [
        Problem(Path("a"), None, "x", "", ""),
        Problem(Path("a"), 2, "x", "", ""),
        Problem(Path("a"), 10, "w", "", ""),
        Problem(Path("b"), 1, "x", "", ""),
        Problem(None, None, "ADSYNCD_X", "", ""),
    ]
    assert sorted((ordered[n] for n in (3, 1, 4, 0, 2)), key=in_order) == ordered


def test_a_key_is_told_up_to_a_length_that_leaves_the_problem_in_sight() -> None:
    assert key_name(("sync", "page_size")) == "sync.page_size"
    assert key_name(()) is None
    assert key_name(("a" * 60_000, "b")) == "a" * 200 + "..."
