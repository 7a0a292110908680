from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic
from adsyncd.config.profile_file import shipped_profile
from adsyncd.config.tenant_file import TenantDefaults, TenantFile
from adsyncd.model.profile import Profile
from adsyncd.model.tenant import (
    CredentialsRef,
    Cron,
    EnvRef,
    Every,
    Platform,
    PushPolicy,
    Schedule,
    SystemdRef,
    Tenant,
    VaultRef,
)
from support.tenants import a_tenant

LEAST = {"client_id": "acme", "platform": "mixo", "credentials": {"vault": "adsyncd/acme"}}
MIXO = Platform("mixo", "https://ads.example.com", shipped_profile(), None)


def tenant(**keys: object) -> Tenant:
    return TenantFile.model_validate(LEAST | keys).tenant("acme", MIXO)


def test_the_least_drop_in_has_the_documented_defaults() -> None:
    assert tenant() == a_tenant(platform=MIXO, credentials=VaultRef("adsyncd/acme"))


@pytest.mark.parametrize("key", LEAST)
def test_who_it_is_where_and_with_what_credentials_has_no_default(key: str) -> None:
    with pytest.raises(ValidationError, match=f"1 validation error.*\n{key}"):
        TenantFile.model_validate({name: value for name, value in LEAST.items() if name != key})


@pytest.mark.parametrize(
    ("key", "table", "value"),
    [
        ("schedule", {"every": "1h"}, Every(timedelta(hours=1))),
        ("schedule", {"cron": "0 4 * * *"}, Cron("0 4 * * *", "UTC")),
        ("schedule", {"cron": "0 4 * * *", "timezone": "Europe/Berlin"}, Cron("0 4 * * *", "Europe/Berlin")),
        ("credentials", {"vault": "adsyncd/acme"}, VaultRef("adsyncd/acme")),
        ("credentials", {"env": "ACME"}, EnvRef("ACME")),
        ("credentials", {"credential": "acme"}, SystemdRef("acme")),
    ],
)
def test_a_schedule_is_of_one_of_two_kinds_and_credentials_are_in_one_of_three_places(
    key: str, table: dict[str, str], value: Schedule | CredentialsRef
) -> None:
    assert getattr(tenant(**{key: table}), key) == value


def test_a_role_is_as_whom_credentials_are_read_from_vault_and_nothing_elsewhere() -> None:
    assert tenant(auth={"role": "acme"}).credentials == VaultRef("adsyncd/acme", "acme")
    assert tenant(auth={"role": "acme"}, credentials={"env": "ACME"}).credentials == EnvRef("ACME")


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("schedule", [{}, {"every": "1h", "cron": "0 4 * * *"}, {"timezone": "UTC"}, {"every": "0s"}]),
        ("schedule", [{"every": "1h", "timezone": "UTC"}]),
        ("credentials", [{}, {"vault": "a", "env": "A"}, {"vault": None}, {"vault": "a/../b"}]),
        ("quota", [{"requests": 0, "per": "1s"}, {"requests": 1, "per": "0s"}, {"requests": 1}, {"per": "1s"}]),
        ("sync", [{"page_size": 0}, {"page_size": 1001}, {"concurrency": 0}, {"concurrency": 101}]),
        ("sync", [{"max_attempts": 0}, {"max_attempts": 21}, {"timeout": "0s"}, {"run_deadline": "0s"}]),
        ("alerts", [{"min_success_rate": -0.1}, {"min_success_rate": 1.1}, {"failures": 0}, {"failures": 101}]),
    ],
)
def test_what_is_of_no_kind_or_of_two_or_out_of_bounds_is_refused(table: str, keys: list[dict[str, object]]) -> None:
    for wrong in keys:
        with pytest.raises(ValidationError, match="1 validation error"):
            tenant(**{table: wrong})


def test_what_leads_nowhere_is_found() -> None:
    file = TenantFile.model_validate(LEAST)
    assert list(file.references(["mixo"], "secret")) == []
    assert list(file.references(["one", "another"], None)) == [
        Diagnostic(
            ("platform",),
            'unknown platform "mixo"',
            "known platforms are another, one; if the name is right, add [platforms.mixo] to the settings",
        ),
        Diagnostic(("credentials", "vault"), "no Vault is configured", "add [vault] to the settings"),
    ]


def test_defaults_have_the_keys_of_a_drop_in_and_require_none() -> None:
    assert list(TenantDefaults.model_fields) == list(TenantFile.model_fields)
    assert list(TenantDefaults().references([], None)) == []


@pytest.mark.parametrize(
    ("path", "mount", "right"),
    [
        ("secret/data/adsyncd/acme", "secret", "adsyncd/acme"),
        ("secret/metadata/adsyncd/acme", "secret", "adsyncd/acme"),
        ("v1/secret/data/adsyncd/acme", "secret", "adsyncd/acme"),
        ("v1/secret/adsyncd/acme", "secret", "adsyncd/acme"),
        ("team/kv/data/acme", "team/kv", "acme"),
        ("adsyncd/acme", "secret", None),
        ("secret/adsyncd/acme", "secret", None),  # unusual, but possible: `check` warns
        ("data/acme", "secret", None),
        ("other/data/acme", "secret", None),
        ("v1/acme", "secret", None),
    ],
)
def test_a_path_of_vault_s_api_in_the_place_of_one_below_the_mount_is_named_with_the_right_one(
    path: str, mount: str, right: str | None
) -> None:
    file = TenantFile.model_validate(LEAST | {"credentials": {"vault": path}})
    found = list(file.references(["mixo"], mount))
    assert [fault.fix for fault in found] == ([f'write vault = "{right}"'] if right else [])
    assert all(fault.key == ("credentials", "vault") for fault in found)


# What a platform's profile asks for


def on(profile: Profile, **keys: object) -> Tenant:
    return TenantFile.model_validate(LEAST | keys).tenant("acme", replace(MIXO, profile=profile))


def misfits(profile: Profile, **keys: object) -> list[Diagnostic]:
    return list(TenantFile.model_validate(LEAST | keys).misfits(profile))


META, BUILT_IN = shipped_profile("meta"), shipped_profile()
REGIONAL = replace(META, vars=("region", "login_id"))


def test_a_drop_in_names_the_vars_of_its_profile() -> None:
    assert misfits(REGIONAL, vars={"login_id": "1", "region": "eu", "of_another_profile": "x"}) == []
    assert on(REGIONAL, vars={"login_id": "1", "region": "eu", "more": "x"}).vars == (
        ("region", "eu"),
        ("login_id", "1"),
    )
    assert misfits(REGIONAL, vars={"login_idd": "1", "region": "eu"}) == [
        Diagnostic(("vars", "login_id"), "is missing: the profile meta needs it", 'rename "login_idd"')
    ]
    assert [one.fix for one in misfits(REGIONAL)] == [
        'add vars = { region = "..." }',
        'add vars = { login_id = "..." }',
    ]


def test_nothing_is_pushed_where_the_platform_or_the_drop_in_says_so() -> None:
    assert on(META).sync.push is on(BUILT_IN, sync={"push": "none"}).sync.push is PushPolicy.NONE
    assert on(BUILT_IN).sync.push is PushPolicy.ALL
    assert misfits(META, sync={"push": "none"}) == misfits(META, sync={}) == []
    assert misfits(META, sync={"push": "all"}) == [
        Diagnostic(("sync", "push"), "the profile meta has no push", 'leave it out, or write push = "none"')
    ]


@pytest.mark.parametrize(("asked", "size"), [(10, 50), (50, 50), (70, 70), (100, 100), (1000, 100)])
def test_pages_are_as_large_as_the_platform_accepts(asked: int, size: int) -> None:
    bounded = replace(META, listing=replace(META.listing, page_size=(50, 100)))
    assert on(bounded, sync={"page_size": asked}).sync.page_size == size


def test_a_quota_has_room_for_the_most_costly_request() -> None:
    assert BUILT_IN.push
    costly = replace(BUILT_IN, push=replace(BUILT_IN.push, cost=5))
    assert misfits(costly, quota={"requests": 5, "per": "1m"}) == []
    narrow = {"requests": 100, "per": "1h", "also": [{"requests": 4, "per": "1m"}]}
    for quota in ({"requests": 4, "per": "1m"}, narrow):
        assert misfits(costly, quota=quota) == [
            Diagnostic(
                ("quota",),
                "is too small: a request of [push] costs 5 permits in the profile adsyncd",
                "allow at least 5 requests in each window",
            )
        ]


def test_credentials_have_the_secrets_of_the_profile() -> None:
    assert on(META).credentials.keys == ("access_token",)
    assert on(BUILT_IN).credentials.keys == ("email", "password")
