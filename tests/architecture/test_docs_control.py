import io
import os
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from typer.main import get_command

from adsyncd.cli import application, status_view
from adsyncd.cli.failure import exit_code
from adsyncd.cli.probe import ExitCode
from adsyncd.control import openapi, wire
from adsyncd.control.endpoints import ENDPOINTS
from adsyncd.control.peer import Peer
from adsyncd.errors import DaemonBusy, NoDaemon
from adsyncd.model.run import Outcome, Run, Wait
from adsyncd.model.status import RunProgress, State, TenantStatus
from adsyncd.rate.quota import Shape
from adsyncd.rate.wait import WaitReason
from support import page
from support.zone import in_zone

PAGE = page.read("control.md")


def test_each_endpoint_is_documented_as_it_describes_itself() -> None:
    rows = re.findall(r"^\| `((?:GET|POST) \S+)` \| (.+) \|$", PAGE, re.MULTILINE)
    ours = [(f"{endpoint.method} {endpoint.path}", endpoint.summary) for endpoint in ENDPOINTS]
    assert rows == [*ours, (f"GET {openapi.PATH}", "This document")]


def test_each_key_of_a_tenant_and_each_state_are_documented() -> None:
    assert sorted(page.names(PAGE, "key")) == sorted(field.name for field in fields(TenantStatus))
    assert sorted(page.names(PAGE, "state")) == sorted(State)


def test_each_command_exists() -> None:
    commands = set(get_command(application()).commands)  # type: ignore[attr-defined]  # it is a group
    documented = {name.split()[1] for name in page.names(PAGE, "command")}
    assert {"status", "alerts", "trigger", "cancel", "pause", "resume", "reload", "log-level"} == documented <= commands


def test_the_commands_of_the_readme_exist() -> None:
    readme = (page.ROOT / "README.md").read_text(encoding="utf-8")
    named = {name.split()[1] for name in page.names(page.section(readme, "Commands"), "command")}
    assert named
    assert named <= set(get_command(application()).commands)  # type: ignore[attr-defined]  # it is a group


def test_the_exit_codes_are_those_of_the_commands() -> None:
    rows = page.rows(page.section(PAGE, "Exit codes and errors"), "exit code")
    documented = [int(code) for cells in rows for code in cells[0].split(",")]
    of_errors = [exit_code(error("")) for error in (NoDaemon, DaemonBusy)]
    assert documented == [0, 1, 2, 3, *of_errors, *ExitCode, os.EX_CONFIG, 130]


def test_the_limits_are_those_of_the_queries() -> None:
    runs, letters = wire.RunsQuery().limit, wire.DeadLettersQuery.model_validate({}).limit
    assert f"(default: {runs} runs, {letters} dead letters; at most 1000)" in PAGE
    assert set(re.findall(r"`\?(\w+)=`", PAGE)) == wire.DeadLettersQuery.model_fields.keys()


def test_what_is_logged_of_a_command_is_documented() -> None:
    assert set(re.findall(r"`(peer_\w+)`", PAGE)) == {f"peer_{field.name}" for field in fields(Peer)}


def test_the_example_is_what_status_says() -> None:
    now = datetime(2026, 11, 25, 15, 3, 23, tzinfo=UTC)

    def at(minute: int, second: int = 0) -> datetime:
        return now.replace(minute=minute, second=second)

    tenant = TenantStatus(
        *("globex", State.WAITING, "globex", "mixo"),
        wait=Wait(WaitReason.QUOTA, at(4, 5)),
        run=RunProgress(
            *("globex-20261125T150000.000Z", at(0)),
            announced=40,
            listed=40,
            pushed=12,
            skipped=0,
            stored=0,
            dead_lettered=0,
            failed=0,
            requests=16,
            retries=0,
            refused=0,
            waited_s=61.0,
            done_at=at(20, 10),
        ),
        next_fire_time=at(15),
        last_run=replace(
            Run("globex", "globex-20261125T144500.000Z", now, now, "5bd66ef5095369c7b0d1f8f4bd33716a"),
            ended_at=now - timedelta(minutes=13, seconds=30),
            outcome=Outcome.SUCCEEDED,
            listed=40,
            pushed=40,
        ),
        permits=10,
        shape=Shape.BURST,
    )
    console = Console(file=io.StringIO(), width=160)
    with in_zone("Europe/Berlin"):
        console.print(status_view.tenant_view(tenant, now), soft_wrap=True)
    said = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    [example] = re.findall(r"^\$ adsyncd status globex\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert [line.split() for line in example.splitlines()] == [line.split() for line in said.splitlines()]
