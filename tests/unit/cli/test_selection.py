"""The options that select tenants: kinds add up, the others narrow."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from adsyncd.cli.selection import selecting
from adsyncd.model.selection import EVERYTHING, Selection, Show

SEEN: list[tuple[str | None, bool, Selection]] = []


def _command(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT")] = None,
    json: Annotated[bool, typer.Option("--json")] = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Do it."""
    SEEN.append((tenant, json, selection))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (None, False, EVERYTHING)),
        (["acme", "--json"], ("acme", True, EVERYTHING)),
        (["--failing", "--late"], (None, False, Selection(frozenset({Show.FAILING, Show.LATE})))),
        (["--match", "a*", "--platform", "mixo"], (None, False, Selection(platform="mixo", match="a*"))),
        (["--waiting", "--paused"], (None, False, Selection(frozenset({Show.WAITING, Show.PAUSED})))),
    ],
)
def test_a_command_gets_what_its_options_select(
    arguments: list[str], expected: tuple[str | None, bool, Selection]
) -> None:
    app = typer.Typer(add_completion=False)
    app.command()(selecting(_command))
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    assert SEEN.pop() == expected


def test_the_help_of_a_command_has_the_options() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(selecting(_command))
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Do it." in shown
    for option in ("--failing", "--late", "--waiting", "--paused", "--platform", "--match", "--json"):
        assert option in shown
    assert "--selection" not in shown
