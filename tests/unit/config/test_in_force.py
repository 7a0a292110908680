"""Each value in force has the place that it comes from, by the merge that the daemon does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adsyncd.config.diagnostics import ANY_ITEM, ANY_NAME, known_keys
from adsyncd.config.dropins import read_files, read_tenants
from adsyncd.config.in_force import HIDDEN, Value, settings_values, tenant_values
from adsyncd.config.settings import Settings, load_guarded
from adsyncd.config.tenant_file import TenantFile
from support.dropins import ACME, Folders

Told = dict[str, tuple[object, str]]
SETTINGS = '[platforms.mixo]\nbase_url = "https://ads"\n'


def told(values: list[Value], root: Path) -> Told:
    """Return each value, and its place below `root` or its variable."""

    def place(value: Value) -> str:
        source = value.origin.source.removeprefix(f"{root}/")
        return source if value.origin.line is None else f"{source}:{value.origin.line}"

    return {".".join(value.key): (value.value, place(value)) for value in values}


@pytest.fixture
def settings(folders: Folders) -> Callable[..., Path]:
    """Write the settings."""

    def write(text: str = SETTINGS) -> Path:
        dirs = json.dumps([str(folders.low), str(folders.high)])
        return folders.write("adsyncd.toml", f"tenants_dirs = {dirs}\n{text}")

    return write


@pytest.fixture
def of_tenant(folders: Folders, settings: Callable[..., Path]) -> Callable[..., Told]:
    """Return the values of the tenant `acme` and their places."""

    def read(text: str = SETTINGS, **environ: str) -> Told:
        loaded = load_guarded(settings(text), environ)
        tenant = read_tenants(loaded.settings).good["acme"]
        files = read_files(loaded.settings, "acme")
        return told(tenant_values(loaded, files, tenant), folders.low.parent)

    return read


def test_each_key_of_a_drop_in_has_a_value_with_its_default_or_has_none(
    folders: Folders, of_tenant: Callable[..., Told]
) -> None:
    folders.write("low/acme.toml", ACME)
    found = of_tenant()
    assert {key: value for key, value in found.items() if value[1] != "default"} == {
        "client_id": ("acme", "low/acme.toml:1"),
        "platform": ("mixo", "low/acme.toml:2"),
        "credentials.env": ("ACME", "low/acme.toml:3"),
        "platforms.mixo.base_url": ("https://ads", "adsyncd.toml:3"),
    }
    assert found["quota.per"] == ("1m", "default")
    assert found["schedule.every"] == ("15m", "default")
    assert found["vars"] == ({}, "default")
    known = {".".join(key) for key in known_keys(TenantFile) if ANY_ITEM not in key}
    no_value = {"schedule", "schedule.cron", "schedule.timezone", "credentials", "credentials.vault"}
    no_value |= {"credentials.credential", "auth", "auth.role", "quota", "quota.arrival_bound", "sync", "alerts"}
    assert {key for key in found if not key.startswith("platforms.")} == known - no_value


def test_a_later_file_counts_and_an_override_counts_more(folders: Folders, of_tenant: Callable[..., Told]) -> None:
    folders.write("low/acme.toml", "no drop-in, and replaced")
    folders.write("high/acme.toml", f"{ACME}[sync]\npage_size = 50\nconcurrency = 2\n")
    folders.write("low/acme.toml.d/10-size.toml", "sync = { page_size = 60 }\n")
    folders.write("high/acme.toml.d/20-size.toml", "\nsync.page_size = 70\n")
    folders.write("low/acme.toml.d/30-size.toml", "sync.page_size = 80\n")
    (folders.high / "acme.toml.d" / "30-size.toml").symlink_to("/dev/null")  # masks it
    found = of_tenant(f"{SETTINGS}[defaults]\nsync.page_size = 20\nsync.max_attempts = 9\nweight = 3\n")
    assert found["sync.page_size"] == (70, "high/acme.toml.d/20-size.toml:2")
    assert found["sync.concurrency"] == (2, "high/acme.toml:6")
    assert found["sync.max_attempts"] == (9, "adsyncd.toml:6")
    assert found["weight"] == (3, "adsyncd.toml:7")


def test_a_choice_is_replaced_as_a_whole_so_that_no_line_of_the_other_is_named(
    folders: Folders, of_tenant: Callable[..., Told]
) -> None:
    folders.write("low/acme.toml", f'{ACME}schedule = {{ cron = "0 * * * *", timezone = "Europe/Berlin" }}\n')
    folders.write("low/acme.toml.d/10.toml", '[schedule]\ncron = "1 * * * *"\n')
    found = of_tenant()
    assert found["schedule.cron"] == ("1 * * * *", "low/acme.toml.d/10.toml:2")
    assert found["schedule.timezone"] == ("UTC", "default")


def test_an_empty_table_has_its_place_and_hides_no_other(folders: Folders, of_tenant: Callable[..., Told]) -> None:
    folders.write("low/acme.toml", f"{ACME}[vars]\n[sync]\n")
    found = of_tenant()
    assert found["vars"] == ({}, "low/acme.toml:4")
    assert found["sync.page_size"] == (10, "default")
    folders.write("low/acme.toml", ACME)
    assert of_tenant(f"{SETTINGS}[defaults]\nvars = {{}}\n")["vars"] == ({}, "adsyncd.toml:5")
    folders.write("low/acme.toml", f'{ACME}vars.one = "1"\n')
    folders.write("low/acme.toml.d/10.toml", "vars = {}\n")
    assert of_tenant()["vars.one"] == ("1", "low/acme.toml:4")


def test_a_variable_counts_more_than_the_settings_and_less_than_a_drop_in(
    folders: Folders, of_tenant: Callable[..., Told]
) -> None:
    folders.write("low/acme.toml", f"{ACME}weight = 2\n")
    environ = {
        "ADSYNCD_DEFAULTS__WEIGHT": "5",
        "ADSYNCD_DEFAULTS__SYNC": '{"page_size": 33}',
        "ADSYNCD_PLATFORMS__MIXO__QUOTA": '{"requests": 9, "per": "60s"}',
    }
    found = of_tenant(f"{SETTINGS}[defaults.sync]\nconcurrency = 7\n", **environ)
    assert found["weight"] == (2, "low/acme.toml:4")
    assert found["sync.page_size"] == (33, "ADSYNCD_DEFAULTS__SYNC")
    assert found["sync.concurrency"] == (5, "default")  # the variable replaces the whole table
    assert found["platforms.mixo.quota.per"] == ("60s", "ADSYNCD_PLATFORMS__MIXO__QUOTA")
    assert found["platforms.mixo.quota.shape"] == ("auto", "default")


def test_durations_are_as_they_were_written(folders: Folders, of_tenant: Callable[..., Told]) -> None:
    also = "[[quota.also]]\nrequests = 200\nper = '3600s'\n"
    folders.write("low/acme.toml", f"{ACME}[quota]\nrequests = 10\nper = '60s'\n{also}")
    found = of_tenant(f"{SETTINGS}[defaults]\nsync.timeout = '90s'\n", ADSYNCD_DEFAULTS__SYNC__RUN_DEADLINE="120s")
    assert found["quota.per"] == ("60s", "low/acme.toml:6")
    assert found["quota.also"] == ([{"requests": 200, "per": "3600s"}], "low/acme.toml:7")
    assert found["sync.timeout"] == ("90s", "adsyncd.toml:5")
    assert found["sync.run_deadline"] == ("120s", "ADSYNCD_DEFAULTS__SYNC__RUN_DEADLINE")


def test_values_that_the_profile_bounds_or_states_come_from_it(
    folders: Folders, of_tenant: Callable[..., Told], tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(
        'base_url = "https://api.example.com/"\nvars = ["account"]\nfields.id = "id"\n'
        'sign_in.static = "access_token"\n[list]\npath = "/v1/{var.account}"\nrecords = "data"\npage_size = [1, 25]\n'
    )
    folders.write("low/acme.toml", f'{ACME}sync.page_size = 50\nvars = {{ account = "7", api_key = "canary-1" }}\n')
    found = of_tenant(f'[platforms.mixo]\nprofile = "{tmp_path}/own.toml"\nproxy = "http://proxy:3128"\n')
    assert found["sync.page_size"] == (25, "own.toml:8")
    assert found["sync.push"] == ("none", "own.toml")
    assert found["platforms.mixo.base_url"] == ("https://api.example.com", "own.toml:1")
    assert found["platforms.mixo.proxy.url"] == ("http://proxy:3128", "adsyncd.toml:4")
    assert found["vars.account"] == ("7", "low/acme.toml:5")
    assert found["vars.api_key"] == (HIDDEN, "low/acme.toml:5")


def of_settings(path: Path, **environ: str) -> Told:
    return told(settings_values(load_guarded(path, environ)), path.parent)


def test_the_settings_themselves_have_all_their_values(settings: Callable[..., Path]) -> None:
    found = of_settings(settings(f"watch = true\n{SETTINGS}[defaults]\nweight = 2\n"), ADSYNCD_SHUTDOWN_GRACE="5s")
    assert found["watch"] == (True, "adsyncd.toml:2")
    assert found["shutdown_grace"] == ("5s", "ADSYNCD_SHUTDOWN_GRACE")
    assert found["store.keep_runs"] == ("3d", "default")
    assert found["platforms.mixo.profile"] == ("adsyncd", "default")
    assert {key for key in found if key.startswith("defaults.")} == {"defaults.weight"}
    plain = {".".join(key) for key in known_keys(Settings) if ANY_NAME not in key and key[0] != "defaults"}
    assert {key for key in found if not key.startswith(("platforms.", "defaults."))} <= plain


def test_places_of_secrets_are_shown_and_what_may_be_a_secret_is_hidden(settings: Callable[..., Path]) -> None:
    vault = 'auth = { method = "approle", role_id = "canary-2", secret_id = { file = "/run/secret" } }'
    text = f"""\
store.url = "postgresql+psycopg://adsyncd:canary-3@db/adsyncd"
alerts.webhook = "https://hooks.example.com/canary-4"
[vault]
address = "https://vault:8200"
{vault}
[platforms.auth-api]
base_url = "https://ads"
proxy = {{ credential = "proxy" }}
"""
    found = of_settings(settings(text))
    assert "canary" not in repr(found)
    assert found["store.url"] == (HIDDEN, "adsyncd.toml:2")
    assert found["alerts.webhook"] == (HIDDEN, "adsyncd.toml:3")
    assert found["vault.auth.role_id"] == (HIDDEN, "adsyncd.toml:6")
    assert found["vault.auth.method"] == ("approle", "adsyncd.toml:6")
    assert found["vault.auth.secret_id.file"] == ("/run/secret", "adsyncd.toml:6")
    assert found["platforms.auth-api.base_url"] == ("https://ads", "adsyncd.toml:8")
    assert found["platforms.auth-api.proxy.credential"] == ("proxy", "adsyncd.toml:9")


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("sqlite:////var/lib/adsyncd.db?timeout=3", True),
        ("postgresql+psycopg://adsyncd@db:5432/adsyncd?sslmode=require", True),
        ("postgresql+psycopg://adsyncd:canary/5@db/adsyncd", False),
        ("postgresql+psycopg://adsyncd@db/adsyncd?p%61ssword=canary-6", False),
    ],
)
def test_the_address_of_a_database_is_shown_unless_it_holds_a_password(
    settings: Callable[..., Path], url: str, is_shown: bool
) -> None:
    found = of_settings(settings(f'store.url = "{url}"\n'))
    assert found["store.url"][0] == (url if is_shown else HIDDEN)


def test_a_profile_that_cannot_be_read_hides_no_other_value(settings: Callable[..., Path]) -> None:
    found = of_settings(settings('[platforms.mixo]\nprofile = "/nowhere/own.toml"\n'))
    assert "platforms.mixo.base_url" not in found
    assert found["platforms.mixo.profile"] == ("/nowhere/own.toml", "adsyncd.toml:3")
