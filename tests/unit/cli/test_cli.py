"""The commands that need no platform, called in this process as the shell calls them."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import anyio
import pytest
from opentelemetry.trace import NoOpTracer

import adsyncd
from adsyncd.cli import output
from adsyncd.model.run import Outcome, Run
from adsyncd.store import open_store
from support.commands import Call, Said, Shell, add_tenant, install
from support.migrated import sqlite_file
from support.records import HandClock, run

KEYS = [
    "tenant", "run_id", "fire_time", "started_at", "ended_at", "outcome", "listed", "pushed", "skipped",
    "dead_lettered", "failed", "requests", "retries", "refused", "waited_s", "trace_id", "error",
    "note",
]  # fmt: skip
COLOUR = "\x1b["


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation with one tenant."""
    install(tmp_path)
    add_tenant(tmp_path, "acme")
    return tmp_path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call `adsyncd` with arguments, in the folder and with a bare environment."""
    shell = Shell(folder, monkeypatch, capsys)
    shell.environ(COLUMNS="80")
    umask = os.umask(0o022)
    yield shell.call
    os.umask(umask)


def record(folder: Path, *runs: Run) -> None:
    """Keep runs in the store, as they ended or open."""

    async def keep() -> None:
        async with open_store(sqlite_file(folder), clock=HandClock(), tracer=NoOpTracer()) as store:
            for each in runs:
                await store.begin(replace(each, ended_at=None, outcome=None))
                if each.outcome:
                    await store.finish(each)

    anyio.run(keep)


def a_run(tenant: str = "acme", number: int = 0, **changes: object) -> Run:
    """A run that pushed 97 of 100 campaigns."""
    began = run(tenant, number)
    ended = replace(
        began,
        ended_at=began.started_at + timedelta(minutes=2, seconds=3.4),
        outcome=Outcome.PARTIAL,
        listed=100,
        pushed=97,
        failed=2,
        dead_lettered=1,
        requests=117,
        retries=7,
        waited_s=12.34567,
        error="3 of 100 campaigns were not pushed, the first because [red]no[/] answer",
    )
    return replace(ended, **changes)  # type: ignore[arg-type]  # fields of a run


def test_a_command_that_asks_the_daemon_does_not_import_what_the_daemon_is_made_of() -> None:
    """It would take three times as long to answer."""
    commands = ["status", "trigger", "pause", "resume", "reload"]
    asked = f"import sys; from adsyncd.cli import application; [*map(application, {commands})]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert "httpx" in done.stdout.split()
    assert not {"sqlalchemy", "hvac", "uvicorn", "adsyncd.daemon"} & set(done.stdout.split())


# check


def test_check_exits_0_when_all_is_right(call: Call) -> None:
    assert call("check") == Said(0, "1 tenant ready, 0 problems\n", "")


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
    assert (problem["path"], problem["line"], problem["key"]) == (
        str(folder / "tenants.d" / "globex.toml"),
        4,
        "enabeld",
    )
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


def test_check_warns_of_a_crontab_that_never_comes_up(call: Call, folder: Path) -> None:
    add_tenant(folder, "globex", 'schedule = { cron = "0 3 30 2 *" }\n')
    said = call("check")
    assert (said.code, said.out) == (0, "2 tenants ready, 0 problems, 1 warning\n")
    assert said.err.startswith("warning: tenant globex: its crontab names a date that never comes; change the date")


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
    assert (said.code, said.err) == (
        0,
        "warning: tenant acme: the environment does not hold credentials; set ACME_PASSWORD\n",
    )
    monkeypatch.setitem(os.environ, "ACME_PASSWORD", "canary\n")
    assert call("check").err == "warning: tenant acme: its credentials end in a line break, which is not sent\n"


def test_check_says_how_the_database_is_when_it_is_asked_to(call: Call, folder: Path) -> None:
    record(folder, a_run())
    said = call("check", "--store")
    assert said.code == 0
    assert "store: SQLite finds it intact\n" in said.out
    (folder / "adsyncd.db").chmod(0o644)
    [problem] = json.loads(call("check", "--store", "--json").out)
    assert (problem["path"], problem["key"]) == (str(folder / "adsyncd.db"), "store.url")
    assert call("check").code == 0


def test_check_makes_no_database(call: Call, folder: Path) -> None:
    call("check")
    assert call("check", "--store").code == 1
    assert not (folder / "adsyncd.db").exists()


# runs


def test_runs_as_json_have_the_keys_of_the_contract_newest_first(call: Call, folder: Path) -> None:
    record(folder, a_run(number=0), a_run("globex", 1, outcome=None, ended_at=None, error=None), a_run(number=2))
    said = call("runs", "--json")
    printed = json.loads(said.out)
    assert said.code == 0
    assert [list(each) for each in printed] == [KEYS] * 3
    assert [each["run_id"] for each in printed] == [
        run("acme", 2).run_id,
        run("globex", 1).run_id,
        run("acme", 0).run_id,
    ]
    assert printed[2] == {
        "tenant": "acme",
        "run_id": "acme-20261125T120000.000Z",
        "fire_time": "2026-11-25T12:00:00+00:00",
        "started_at": "2026-11-25T12:00:00+00:00",
        "ended_at": "2026-11-25T12:02:03.400000+00:00",
        "outcome": "partial",
        "listed": 100,
        "pushed": 97,
        "skipped": 0,
        "dead_lettered": 1,
        "failed": 2,
        "requests": 117,
        "retries": 7,
        "refused": 0,
        "waited_s": 12.346,
        "trace_id": "0" * 32,
        "error": "3 of 100 campaigns were not pushed, the first because [red]no[/] answer",
        "note": None,
    }
    assert (printed[1]["outcome"], printed[1]["ended_at"]) == (None, None)


def test_runs_of_a_tenant_and_a_limit(call: Call, folder: Path) -> None:
    record(folder, a_run(number=0), a_run("globex", 1), a_run(number=2))
    assert [each["tenant"] for each in json.loads(call("runs", "globex", "--json").out)] == ["globex"]
    assert len(json.loads(call("runs", "--json", "--limit", "2").out)) == 2
    assert call("runs", "--limit", "0").code == 2


def test_runs_are_a_plain_table_with_trace_ids_where_there_is_no_terminal(call: Call, folder: Path) -> None:
    record(folder, a_run(), a_run("globex", 1, outcome=None, ended_at=None, error=None))
    said = call("runs")
    assert COLOUR not in said.out
    header, opened, ended, error = said.out.splitlines()
    assert header.split() == [
        *("tenant", "started", "(UTC)", "took", "outcome", "pushed", "not", "pushed"),
        *("requests", "retries", "429s", "trace", "id"),
    ]
    assert opened.split() == ["globex", "2026-11-25", "12:15:00", "open", "0/0", f"{1:032x}"]
    assert ended.split() == [
        *("acme", "2026-11-25", "12:00:00", "2m3s", "partial", "97/100"),
        *("2", "failed,", "1", "dead", "117", "7", "0", "0" * 32),
    ]
    assert error == f"{run().run_id}: 3 of 100 campaigns were not pushed, the first because [red]no[/] answer"


def test_the_note_of_a_run_stands_below_the_table(call: Call, folder: Path) -> None:
    record(folder, a_run(error=None, note="the platform named [b]45 campaigns in all and listed 30"))
    assert call("runs").out.splitlines()[2:] == [
        f"{run().run_id}: the platform named [b]45 campaigns in all and listed 30"
    ]


@pytest.mark.parametrize(("columns", "has_trace_ids"), [(80, False), (119, False), (120, True)])
def test_a_table_fits_its_terminal(
    columns: int, has_trace_ids: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "new_console", lambda: output.Terminal(width=columns))
    output.print_runs([a_run("a-tenant-with-a-name-of-the-longest-that-there-can-be-of-63-chars", error=None), a_run()])
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines() if not line.startswith("acme-2026")) <= columns
    assert "97/100" in said
    assert "2m3s" in said
    assert ("0" * 32 in said) is has_trace_ids
    assert ("trace ids: --json" in said) is not has_trace_ids


def test_no_runs_are_no_failure(call: Call, folder: Path) -> None:
    record(folder)
    assert call("runs") == Said(0, "no runs yet\n", "")
    assert call("runs", "acme") == Said(0, "no runs of acme yet\n", "")
    assert call("runs", "--json") == Said(0, "[]\n", "")


def test_no_runs_of_a_tenant_that_is_not_there_are_a_mistake(call: Call, folder: Path) -> None:
    record(folder)
    assert call("runs", "amce") == Said(1, "", 'error: there is no tenant "amce"; did you mean "acme"?\n')
    record(folder, a_run("amce"))  # it was there
    assert call("runs", "amce").code == 0


def test_what_a_command_writes_is_its_owner_s_alone(call: Call) -> None:
    call("check")
    assert os.umask(0o022) == 0o077


# sync, where there is nothing to sync with


def test_an_unknown_tenant_names_the_nearest(call: Call) -> None:
    said = call("sync", "amce")
    assert said == Said(1, "", 'error: there is no tenant "amce"; did you mean "acme"?\n')


def test_a_tenant_that_is_unlike_any_says_where_to_create_it(call: Call, folder: Path) -> None:
    said = call("sync", "initech")
    assert said == Said(1, "", f'error: there is no tenant "initech"; create {folder}/tenants.d/initech.toml\n')


def test_a_tenant_whose_drop_in_is_wrong_says_what_is_wrong(call: Call, folder: Path) -> None:
    bad = add_tenant(folder, "globex", "enabeld = true\n")
    said = call("sync", "globex")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: {bad}:4: enabeld: ")


# All of them


@pytest.mark.parametrize(
    "arguments", [("check", "--jsn"), ("sync",), ("runs", "a", "b"), ("nonsense",), ("run", "--log-level", "loud")]
)
def test_a_usage_error_exits_2_and_says_why_without_colour(call: Call, arguments: tuple[str, ...]) -> None:
    said = call(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: ")
    assert "─ Error ─" in said.err
    assert COLOUR not in said.err


@pytest.mark.parametrize("command", ["check", "runs", "sync"])
def test_a_missing_configuration_is_said_in_a_line(call: Call, command: str, folder: Path) -> None:
    (folder / "adsyncd.toml").unlink()
    said = call(command, *(["acme"] if command == "sync" else []))
    assert said.code == 1
    assert "create it, or name another with --config or ADSYNCD_CONFIG" in said.out + said.err


@pytest.mark.parametrize("command", [("status",), ("pause", "acme"), ("reload",)])
def test_a_mistake_in_the_settings_does_not_stand_between_an_operator_and_the_daemon(
    call: Call, command: tuple[str, ...], folder: Path
) -> None:
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write(f'bse_url = "x"\n[control]\nsocket = "{folder}/control.sock"\n')
    said = call(*command)
    assert (said.code, said.out) == (4, "")
    assert said.err.startswith(f"error: no daemon answers at {folder}/control.sock: there is no such socket")


def test_a_busy_daemon_is_not_taken_for_none(call: Call, folder: Path) -> None:
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write(f'[control]\nsocket = "{folder}/control.sock"\n')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/control.sock")
        listener.listen()

        def turn_away() -> None:
            visitor, _ = listener.accept()
            with visitor:
                visitor.recv(65536)
                visitor.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")

        busy = Thread(target=turn_away)
        busy.start()
        said = call("status")
        busy.join()
    assert (said.code, said.out) == (5, "")
    assert said.err == f"error: the daemon at {folder}/control.sock is busy with too many requests; try again\n"


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        ("run", ["Exits 0 after a clean stop"]),
        ("check", ["Exits 0 if everything is valid, 1 if there is a problem"]),
        ("sync", ["Exits 0 when all campaigns were pushed", "3 when some were not", "1 when the run failed"]),
        ("demo", ["Exits 1"]),
    ],
)
def test_help_tells_the_exit_codes_and_shows_no_colour(call: Call, command: str, codes: list[str]) -> None:
    said = call(command, "--help")
    assert said.code == 0
    for code in codes:
        assert code in " ".join(said.out.split())
    assert COLOUR not in said.out
    assert "╭─ Options" in said.out


def test_help_lists_every_command(call: Call) -> None:
    said = call("--help")
    assert said.code == 0
    for command in ("run", "check", "sync", "runs", "demo"):
        assert f"│ {command}" in said.out
    assert call().out.strip() == said.out.strip()  # no arguments: what could be done


def test_the_version_is_told(call: Call) -> None:
    assert call("--version") == Said(0, f"adsyncd {adsyncd.__version__}\n", "")
