"""All commands: usage, help, exit codes, and errors that any of them may have."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

import adsyncd
from support.commands import COLOUR, Call, Said, add_tenant


def test_a_command_that_asks_the_daemon_does_not_import_what_the_daemon_is_made_of() -> None:
    """It would take three times as long to answer."""
    commands = ["status", "trigger", "pause", "resume", "reload"]
    asked = f"import sys; from adsyncd.cli import application; [*map(application, {commands})]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert "httpx" in done.stdout.split()
    assert not {"sqlalchemy", "hvac", "uvicorn", "adsyncd.daemon"} & set(done.stdout.split())


def test_what_a_command_writes_is_its_owner_s_alone(call: Call) -> None:
    call("check")
    assert os.umask(0o022) == 0o077


@pytest.mark.parametrize("command", ["sync", "plan"])
def test_an_unknown_tenant_names_the_nearest(call: Call, command: str) -> None:
    said = call(command, "amce")
    assert said == Said(1, "", 'error: there is no tenant "amce"; did you mean "acme"?\n')


def test_a_tenant_that_is_unlike_any_says_where_to_create_it(call: Call, folder: Path) -> None:
    said = call("sync", "initech")
    assert said == Said(1, "", f'error: there is no tenant "initech"; create {folder}/tenants.d/initech.toml\n')


def test_a_tenant_whose_drop_in_is_wrong_says_what_is_wrong(call: Call, folder: Path) -> None:
    bad = add_tenant(folder, "globex", "enabeld = true\n")
    said = call("sync", "globex")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: {bad}:4: enabeld: ")


@pytest.mark.parametrize("command", ["plan", "simulate --hours 0.5 --campaigns 5 --healthy"])
def test_drop_ins_that_are_wrong_are_left_out_of_a_forecast_and_named(call: Call, folder: Path, command: str) -> None:
    add_tenant(folder, "hooli", "client_id = 1\n")
    said = call(*command.split())
    assert said.code == 0
    assert "warning: skipped: " in said.err
    assert "hooli.toml" in said.err


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
        ("check", ["Exits 0 if everything is valid and each probe went well, 1 if there is a problem"]),
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
