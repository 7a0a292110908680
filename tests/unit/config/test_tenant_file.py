from datetime import timedelta

import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic
from adsyncd.config.profile_file import shipped_profile
from adsyncd.config.tenant_file import TenantDefaults, TenantFile
from adsyncd.model.tenant import CredentialsRef, Cron, EnvRef, Every, Platform, Schedule, SystemdRef, Tenant, VaultRef
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
