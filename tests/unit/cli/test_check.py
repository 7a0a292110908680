"""`adsyncd check`, called in this process as the shell calls it."""

import json
import os
from pathlib import Path

import pytest

from support.commands import Call, Said, add_tenant
from support.migrated import sqlite_file
from support.profiles import OWN


def test_check_exits_0_when_all_is_right_and_makes_no_database(call: Call, folder: Path) -> None:
    assert call("check") == Said(0, "1 tenant ready, 0 problems\n", "")
    assert not (folder / "adsyncd.db").exists()


def test_check_exits_1_with_every_problem_and_its_place(call: Call, folder: Path) -> None:
    bad = folder / "tenants.d" / "globex.toml"
    bad.write_text('client_id = "globex"\nplatform = "mixo"\ncredentials = { env = "G" }\nenabeld = true\nquota = 3\n')
    said = call("check")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{bad}:4: enabeld: ")
    assert lines[1].startswith(f"{bad}:5: quota: ")
    assert len(lines) == 2
    assert said.err == "1 tenant ready, 2 problems\n"


def test_check_escapes_keys_and_names_of_files(call: Call, folder: Path) -> None:
    add_tenant(folder, "globex", '"\\u001b]0;pwned\\u0007" = 1\n"a\\nfake: line" = 1\n')
    (folder / "tenants.d" / os.fsdecode(b"caf\xe9\x1b[31m\nfake: line.toml")).write_text("")
    for command in (("check",), ("runs", "globex"), ("plan",), ("simulate", "--hours", "0.1")):
        said = call(*command)
        assert all(line.isprintable() and not line.startswith("fake") for line in (said.out + said.err).split("\n"))
    said = call("check")
    assert r"\x1b]0;pwned\x07" in said.out
    assert r"caf?\x1b[31m\nfake: line.toml" in said.out
    assert r"\nfake: line" in json.dumps(json.loads(call("check", "--json").out))


def test_check_exits_1_for_settings_that_are_wrong(call: Call, folder: Path) -> None:
    (folder / "adsyncd.toml").write_text("shutdwn_grace = 1\n")
    said = call("check")
    assert said.code == 1
    assert f"{folder / 'adsyncd.toml'}:1: shutdwn_grace: " in said.out


def test_check_prints_its_problems_as_json(call: Call, folder: Path) -> None:
    assert json.loads(call("check", "--json").out) == []
    add_tenant(folder, "globex", "enabeld = true\n")
    said = call("check", "--json")
    [problem] = json.loads(said.out)
    assert problem.keys() == {"severity", "path", "line", "key", "what", "fix"}
    assert problem["severity"] == "error"
    assert problem["path"] == str(folder / "tenants.d" / "globex.toml")
    assert (problem["line"], problem["key"]) == (4, "enabeld")
    assert said.code == 1


def test_check_warns_of_a_schedule_that_the_quota_cannot_meet_with_numbers_and_the_fix(
    call: Call, folder: Path
) -> None:
    add_tenant(folder, "globex", 'schedule = { every = "5m" }\n')
    said = call("check")
    assert (said.code, said.out) == (0, "2 tenants ready, 0 problems, 1 warning\n")
    assert said.err == (
        "warning: tenant globex: its quota can't meet the schedules, if a tenant has 100 campaigns; a run takes up to "
        "110 requests and 12m, and is due every 5m: let it be due every 12m or less often, or have the platform allow "
        '37 requests per 1m, or push only what changed (sync.push = "changed")\n'
    )
    [warning] = json.loads(call("check", "--json").out)
    assert (warning["severity"], warning["key"]) == ("warning", "tenant globex")
    assert "37 requests per 1m" in warning["fix"]


def test_a_warning_that_is_the_same_for_many_tenants_is_one_line(call: Call, folder: Path) -> None:
    for number in range(1, 6):
        add_tenant(folder, f"shop-{number}", 'schedule = { every = "5m" }\n')
    said = call("check")
    assert said.out == "6 tenants ready, 0 problems, 5 warnings\n"
    [warning] = said.err.splitlines()
    assert warning.startswith("warning: tenant shop-1, tenant shop-2, tenant shop-3 and 2 more: its quota can't meet")
    assert len(json.loads(call("check", "--json").out)) == 5
    fixes = [line for line in call("plan").out.splitlines() if line.startswith("tenant shop")]
    assert len(fixes) == 1
    assert fixes[0].startswith("tenant shop-1, tenant shop-2, tenant shop-3 and 2 more: a run takes up to 110 requests")


def test_a_crontab_that_never_comes_up_is_a_problem(call: Call, folder: Path) -> None:
    add_tenant(folder, "globex", 'schedule = { cron = "0 3 30 2 *" }\n')
    said = call("check")
    assert (said.code, said.err) == (1, "1 tenant ready, 1 problem\n")
    assert "globex.toml:4: schedule: names a date that never comes; change the date" in said.out
    add_tenant(folder, "globex", 'enabled = false\nschedule = { cron = "0 3 30 2 *" }\n')
    assert call("check") == Said(0, "2 tenants ready, 0 problems\n", "")


def test_check_warns_of_overrides_that_lie_beside_no_drop_in(call: Call, folder: Path) -> None:
    idle = folder / "tenants.d" / "acne.toml.d"
    idle.mkdir()
    (idle / "quota.toml").write_text("enabled = false\n")
    said = call("check")
    assert (said.code, said.out) == (0, "1 tenant ready, 0 problems, 1 warning\n")
    assert said.err == (
        f"warning: {idle}: overrides no drop-in; write acne.toml, or rename it after an existing drop-in\n"
    )


def test_check_names_a_path_of_vault_s_api_with_the_right_one_and_warns_of_what_looks_like_one(
    call: Call, folder: Path
) -> None:
    settings = folder / "adsyncd.toml"
    settings.write_text(
        settings.read_text() + '[vault]\naddress = "https://vault:8200"\nauth = { method = "token", token.env = "T" }\n'
    )
    path = folder / "tenants.d" / "acme.toml"
    text = path.read_text()
    path.write_text(text.replace('{ env = "ACME" }', '{ vault = "secret/data/adsyncd/acme" }'))
    said = call("check")
    assert said.code == 1
    assert said.out.startswith(f"{path}:3: credentials.vault: has a part of the API's path")
    assert 'write vault = "adsyncd/acme"' in said.out
    path.write_text(text.replace('{ env = "ACME" }', '{ vault = "secret/adsyncd/acme" }'))
    said = call("check")
    assert said.code == 0
    assert said.err == (
        'warning: tenant acme: its credentials are read at "secret/data/secret/adsyncd/acme" of Vault, since '
        'vault.mount comes first; write vault = "adsyncd/acme" if that is not intended\n'
    )


def test_check_warns_of_credentials_in_its_environment_that_cannot_be_used_as_they_are(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "ACME_EMAIL", "ads@acme.example")
    said = call("check")
    assert said.code == 0
    assert said.err == "warning: tenant acme: the environment does not hold credentials; set ACME_PASSWORD\n"
    monkeypatch.setitem(os.environ, "ACME_PASSWORD", "canary\n")
    assert call("check").err == "warning: tenant acme: its credentials end in a line break, which is not sent\n"


def test_check_says_how_the_database_is_when_it_is_asked_to(call: Call, folder: Path) -> None:
    sqlite_file(folder)
    said = call("check", "--store")
    assert said.code == 0
    assert "store: SQLite finds it intact\n" in said.out
    (folder / "adsyncd.db").chmod(0o644)
    [problem] = json.loads(call("check", "--store", "--json").out)
    assert (problem["path"], problem["key"]) == (str(folder / "adsyncd.db"), "store.url")
    assert call("check").code == 0


def test_check_names_the_problem_of_a_profile_once_and_what_drop_ins_lack_for_theirs(call: Call, folder: Path) -> None:
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write(f'[platforms.own]\nprofile = "{folder}/own.toml"\n[platforms.google]\nprofile = "google-ads"\n')
    (folder / "own.toml").write_text(OWN.replace("records", "recods"))
    for number in range(10):
        path = add_tenant(folder, f"t{number}")
        path.write_text(path.read_text().replace("mixo", "own"))
    google = add_tenant(folder, "google")
    google.write_text(google.read_text().replace("mixo", "google"))
    missing = 'is missing: the profile google-ads needs it; add vars = { login_customer_id = "..." }'
    said = call("check")
    assert said.code == 1
    assert said.out.splitlines() == [
        f'{folder}/own.toml:4: list.records: is missing; add records = "data"',
        f'{folder}/own.toml:6: list.recods: unknown key; did you mean "records"?',
        f"{google}: vars.login_customer_id: {missing}",
    ]
    assert said.err == "1 tenant ready, 3 problems\n"
