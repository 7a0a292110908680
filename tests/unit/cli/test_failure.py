"""How commands say why they failed: the same keys and exit codes for each kind of error."""

import json
import sys
from pathlib import Path

import pytest

from adsyncd.cli.client import Refused
from adsyncd.cli.failure import exit_code, is_json_wanted, problem_of
from adsyncd.control.problem import ProblemDetails
from adsyncd.errors import AdsyncdError, ConfigError, DaemonBusy, NoDaemon, Problem, StoreError
from support.commands import Shell

KEYS = ["title", "status", "detail", "fix", "exit"]


@pytest.mark.parametrize(
    ("error", "code", "title"),
    [
        (NoDaemon("none"), 4, "No daemon"),
        (DaemonBusy("slow"), 5, "No answer in time"),
        (StoreError("full"), 1, "The database can't be used"),
        (AdsyncdError("no"), 1, "Failed"),
    ],
)
def test_each_kind_of_error_has_its_code_and_title(error: AdsyncdError, code: int, title: str) -> None:
    assert exit_code(error) == code
    problem = problem_of(error, code)
    assert list(problem) == KEYS
    assert (problem["title"], problem["detail"], problem["exit"]) == (title, str(error), code)


def test_what_the_daemon_answered_is_passed_on() -> None:
    refused = Refused(ProblemDetails(title="Conflict", status=409, detail="acme is paused", fix="resume it"))
    assert problem_of(refused, 1) == {
        "title": "Conflict",
        "status": 409,
        "detail": "acme is paused",
        "fix": "resume it",
        "exit": 1,
    }


def test_invalid_settings_have_all_problems() -> None:
    wrong = [Problem(Path("/etc/a.toml"), 3, "watch", "unknown key", "remove it"), Problem(None, None, "X", "bad", "")]
    problem = problem_of(ConfigError(wrong), 1)
    assert (problem["detail"], problem["fix"]) == ("/etc/a.toml:3: watch: unknown key, and 1 more", "remove it")
    assert [one["key"] for one in problem["problems"]] == ["watch", "X"]
    assert json.dumps(problem)


def test_json_is_wanted_before_the_end_of_options_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, wanted in ((["status", "--json"], True), (["status", "--", "--json"], False), (["status"], False)):
        monkeypatch.setattr(sys, "argv", ["adsyncd", *arguments])
        assert is_json_wanted() is wanted


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        (("status", "--jsn"), "No such option: --jsn"),
        (("nonsense",), "No such command 'nonsense'"),
        (("pause",), "select tenants"),
        (("dead-letters", "nonsense"), "No such command 'nonsense'"),
        (("demo",), "No such option: --json"),
    ],
)
def test_a_usage_error_is_json_on_standard_output(shell: Shell, arguments: tuple[str, ...], detail: str) -> None:
    said = shell.call(*arguments, "--json")
    assert (said.code, said.err) == (2, "")
    problem = json.loads(said.out)
    assert list(problem) == KEYS
    assert detail in problem["detail"]
    assert problem["fix"].startswith("see adsyncd")
    assert problem["exit"] == 2


def test_a_bug_is_json_and_its_place_is_on_standard_error(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adsyncd.cli.check.load_guarded_settings", lambda *_: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["adsyncd", "check", "--json"])
    with pytest.raises(ZeroDivisionError):
        shell.call("check", "--json")
    problem = json.loads(shell.capsys.readouterr().out)
    assert (problem["title"], problem["exit"]) == ("A bug in adsyncd", 1)
