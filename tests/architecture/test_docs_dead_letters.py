import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from adsyncd.cli import dead_letters
from adsyncd.model.campaign import DeadLetter

PAGE = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text(encoding="utf-8")
APP = get_command(dead_letters.application())
COMMANDS = dict(APP.commands)  # type: ignore[attr-defined]  # it is a group


def options(command: str) -> set[str]:
    return {option for parameter in COMMANDS[command].params for option in parameter.opts}


def test_each_command_is_documented() -> None:
    assert re.findall(r"^\| `adsyncd dead-letters (\w+)", PAGE, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_what_is_said_of_options_holds(command: str) -> None:
    assert {"--tenant", "--reason", "--all", "--dry-run"} <= options(command)
    assert {"--tenant", "--reason"} <= options("list")
    assert all("--json" in options(each) for each in COMMANDS)
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) | set(re.findall(r" (--[a-z-]+)", PAGE))
    assert named <= set().union(*map(options, COMMANDS))


def test_each_key_is_documented_in_its_order() -> None:
    table = PAGE.partition("| key |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [field.name for field in fields(DeadLetter)]
