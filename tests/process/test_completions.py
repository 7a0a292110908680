"""The completions of shells, as the shells run them, with the real `adsyncd` behind them."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TENANTS = ["acme", "globex", "initech"]
LEVELS = ["debug", "info", "warning", "error"]
STORED = ["acme", "gone", "long-gone"]
PLATFORMS = ["auth-api", "mixo"]
UNNEEDED = {"adsyncd.cli", "httpx", "httpcore", "pydantic", "rich", "typer", "sqlalchemy", "structlog", "anyio"}

BASH = """
set -u
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_adsyncd
((${#COMPREPLY[@]} == 0)) || printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
_arguments() { }
compadd() { print -l -- "$@"; }
source "$1"
program=adsyncd words=(adsyncd pause --config=other/adsyncd.toml '') CURRENT=4
_adsyncd_tenants show
unset 'words[3]' && CURRENT=3
_adsyncd_tenants show
_adsyncd_stored
_adsyncd_platforms
"""
LISTING_MODULES = """
import sys
from adsyncd.__main__ import main
main()
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the completions."""
    folder = tmp_path_factory.mktemp("completions")
    subprocess.run([sys.executable, ROOT / "docs" / "completions.py", folder], check=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds adsyncd, with settings, three drop-ins, and records of further tenants.

    There are other settings in `~/other`.
    """
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "adsyncd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m adsyncd "$@"\n')
    program.chmod(0o755)
    for place, tenants in (("", TENANTS), ("other", ["umbrella"])):
        (tmp_path / place / "tenants.d").mkdir(parents=True)
        for tenant in tenants:
            (tmp_path / place / "tenants.d" / f"{tenant}.toml").write_text("")
        (tmp_path / place / "adsyncd.toml").write_text(f'tenants_dirs = ["{tmp_path / place / "tenants.d"}"]\n')
    with (tmp_path / "adsyncd.toml").open("a") as settings:
        settings.writelines(f'platforms.{name}.base_url = "https://ads"\n' for name in PLATFORMS)
        settings.write(f'store.url = "sqlite:///{tmp_path}/records.db"\n')
    with closing(sqlite3.connect(tmp_path / "records.db")) as database:
        database.executescript("CREATE TABLE campaigns (tenant); CREATE TABLE runs (tenant);")
        database.executemany("INSERT INTO runs VALUES (?)", [[name] for name in STORED])
        database.commit()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "ADSYNCD_CONFIG": str(tmp_path / "adsyncd.toml")}


def bash(made: Path, machine: dict[str, str], *words: str) -> list[str]:
    """Return what bash offers for the last one of the words."""
    command = ["bash", "--norc", "-c", BASH, "bash", str(made / "adsyncd.bash"), *words]
    done = subprocess.run(command, env=machine, cwd=machine["HOME"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_commands_options_and_the_values_of_choices(made: Path, machine: dict[str, str]) -> None:
    def offered(*words: str) -> list[str]:
        return bash(made, machine, "adsyncd", *words)

    assert {"status", "pause", "dead-letters", "log-level"} <= set(offered(""))
    assert offered("re") == ["resume", "reload", "rename"]
    assert offered("dead-letters", "") == ["list", "show", "replay", "discard"]
    assert offered("dead-letters", "show", "--c") == ["--config"]
    assert offered("run", "") == offered("run", "-") == ["--config", "-c", "--log-level", "--help", "-h"]
    assert offered("run", "--log-level", "") == LEVELS
    assert offered("run", "--log-level", "=") == LEVELS
    assert offered("run", "--log-level", "=", "w") == ["warning"]
    assert offered("runs", "--outcome", "failed", "-o", "p") == ["partial"]
    assert offered("--version", "log-level", "e") == ["error"]
    assert offered("runs", "--since", "") == offered("nothing", "") == []


def test_bash_completes_files(made: Path, machine: dict[str, str]) -> None:
    assert bash(made, machine, "adsyncd", "status", "--config", "a") == ["adsyncd.toml"]
    assert bash(made, machine, "adsyncd", "status", "--socket", "=", "oth") == ["other"]
    assert bash(made, machine, "adsyncd", "profile", "check", "a") == ["adsyncd.toml"]


def test_bash_completes_tenants_of_the_settings_that_the_line_names(made: Path, machine: dict[str, str]) -> None:
    def offered(*words: str) -> list[str]:
        return bash(made, machine, "adsyncd", *words)

    assert offered("pause", "") == TENANTS
    assert offered("pause", "acme", "--dry-run", "g") == ["globex"]  # TENANT... may repeat
    assert offered("status", "acme", "g") == []  # TENANT may not
    assert offered("runs", "") == [*TENANTS, "show"]
    assert offered("runs", "-n", "7", "--", "i") == ["initech"]  # -n takes a value here, and none in pause
    assert offered("dead-letters", "list", "-t", "a") == ["acme"]
    assert offered("pause", "--config", "~/other/adsyncd.toml", "") == ["umbrella"]
    assert offered("pause", "-c", "=", "'other/adsyncd.toml'", "") == ["umbrella"]
    assert offered("pause", "-cother/adsyncd.toml", "") == ["umbrella"]
    assert bash(made, machine, "~/bin/adsyncd", "pause", "a") == ["acme"]
    assert bash(made, machine, "no-such-adsyncd", "pause", "a") == []
    assert offered("pause", "--config", "/nowhere", "a") == []


def test_bash_completes_tenants_on_record_for_forget_and_rename(made: Path, machine: dict[str, str]) -> None:
    assert bash(made, machine, "adsyncd", "rename", "") == STORED
    assert bash(made, machine, "adsyncd", "rename", "--dry-run", "lo") == ["long-gone"]
    assert bash(made, machine, "adsyncd", "rename", "gone", "g") == []  # the new id is the operator's to choose
    assert bash(made, machine, "adsyncd", "forget", "-y", "") == STORED
    assert bash(made, machine, "adsyncd", "forget", "-c", "other/adsyncd.toml", "u") == ["umbrella"]  # no database


def test_bash_completes_platforms_of_the_settings_that_the_line_names(made: Path, machine: dict[str, str]) -> None:
    for command in ("status", "pause", "cancel", "trigger", "runs", "plan", "alerts"):
        assert bash(made, machine, "adsyncd", command, "--platform", "") == PLATFORMS, command
    assert bash(made, machine, "adsyncd", "dead-letters", "list", "--platform", "=", "m") == ["mixo"]
    assert bash(made, machine, "adsyncd", "status", "-c", "other/adsyncd.toml", "--platform", "") == []
    assert bash(made, machine, "adsyncd", "simulate", "--platform", "") == []  # takes another thing


@pytest.mark.parametrize(
    ("hidden", "names"), [("__tenants", TENANTS), ("__stored", STORED), ("__platforms", PLATFORMS)]
)
def test_names_are_told_without_the_modules_of_the_command_line(
    machine: dict[str, str], hidden: str, names: list[str]
) -> None:
    command = [sys.executable, "-c", LISTING_MODULES, hidden]
    told = subprocess.run(command, env=machine, capture_output=True, text=True, check=True)
    assert told.stdout.split() == names
    assert "adsyncd.config.completed_names" in told.stderr.split()
    assert not UNNEEDED & set(told.stderr.split())


def test_a_reader_that_has_gone_and_settings_that_are_broken_are_no_failure(machine: dict[str, str]) -> None:
    Path(machine["ADSYNCD_CONFIG"]).with_name("broken.toml").write_text("[[[")
    for command in (
        "adsyncd __tenants --config ~/broken.toml",
        "adsyncd __stored --config ~/broken.toml",
        "adsyncd __platforms --config ~/broken.toml",
        "adsyncd __tenants 1>/dev/full",
        "adsyncd __tenants >&-",
    ):
        told = subprocess.run(["bash", "-c", command], env=machine, capture_output=True, check=False)
        assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


@pytest.mark.skipif("CI" not in os.environ and shutil.which("zsh") is None, reason="no zsh here: apt-get install zsh")
def test_zsh_understands_its_completion(made: Path) -> None:
    done = subprocess.run(["zsh", "-f", "-n", made / "_adsyncd"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif("CI" not in os.environ and shutil.which("zsh") is None, reason="no zsh here: apt-get install zsh")
def test_zsh_completes_names_as_bash_does(made: Path, machine: dict[str, str]) -> None:
    command = ["zsh", "-f", "-c", ZSH, "zsh", str(made / "_adsyncd")]
    done = subprocess.run(command, env=machine, cwd=machine["HOME"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["show", "umbrella", "show", *TENANTS, *STORED, *PLATFORMS]


@pytest.mark.skipif(
    "CI" not in os.environ and shutil.which("fish") is None, reason="no fish here: apt-get install fish"
)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dead-letters ", ["discard", "list", "replay", "show"]),
        ("run --log-level ", sorted(LEVELS)),
        ("pause acme -n ", TENANTS),
        ("pause --config ~/other/adsyncd.toml ", ["umbrella"]),
        ("runs -n 7 ", [*TENANTS, "show"]),
        ("status acme ", []),
        ("rename ", STORED),
        ("rename gone ", []),
        ("forget --config ~/other/adsyncd.toml ", ["umbrella"]),
        ("pause --platform ", PLATFORMS),
    ],
)
def test_fish_completes_as_bash_does(made: Path, machine: dict[str, str], line: str, offered: list[str]) -> None:
    script = f'source {made / "adsyncd.fish"}; complete -C "adsyncd {line}"'
    done = subprocess.run(["fish", "-N", "-c", script], env=machine, capture_output=True, text=True, check=True)
    assert sorted(one.partition("\t")[0] for one in done.stdout.splitlines()) == offered
    assert done.stderr == ""
