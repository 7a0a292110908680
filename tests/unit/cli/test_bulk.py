"""Which tenants a command means, and the lines and the exit code of what became of them."""

from typing import Any

import pytest
import typer

from adsyncd.cli.bulk import exit_code, in_lines, order_of
from adsyncd.control.orders import Effect, TenantOutcome
from adsyncd.model.selection import EVERYTHING, Selection, Show

PAUSED = Selection(frozenset({Show.PAUSED, Show.FAILING}), match="shop-*")
DONE = TenantOutcome(tenant="acme", outcome=Effect.DONE)
UNCHANGED = TenantOutcome(tenant="globex", outcome=Effect.UNCHANGED)
REFUSED = TenantOutcome(tenant="hooli", outcome=Effect.REFUSED, error="it is disabled", fix="enable it")
BROKEN = TenantOutcome(tenant="initech", outcome=Effect.REFUSED, error="the disk is full")


@pytest.mark.parametrize(
    ("names", "selection", "every", "dry_run", "expected"),
    [
        (["acme"], EVERYTHING, False, False, "acme"),
        (["acme", "acme"], EVERYTHING, False, False, "acme"),
        (["acme"], EVERYTHING, False, True, {"ids": ["acme"]}),
        (["acme", "globex"], EVERYTHING, False, False, {"ids": ["acme", "globex"]}),
        (None, PAUSED, False, False, {"selection": {"state": ["failing", "paused"], "match": "shop-*"}}),
        (None, Selection(platform="mixo"), False, True, {"selection": {"platform": "mixo"}}),
        (None, EVERYTHING, True, False, {"all": True}),
    ],
)
def test_a_command_means_named_tenants_or_selected_ones_or_all(
    names: list[str] | None, selection: Selection, every: bool, dry_run: bool, expected: object
) -> None:
    order = order_of(names, selection, every=every, dry_run=dry_run)
    assert order == (expected if isinstance(expected, str) else {"tenants": expected, "dry_run": dry_run})


@pytest.mark.parametrize(
    ("names", "selection", "every"),
    [
        (None, EVERYTHING, False),
        ([], EVERYTHING, False),
        (["acme"], PAUSED, False),
        (["acme"], EVERYTHING, True),
        (None, PAUSED, True),
    ],
)
def test_exactly_one_of_the_three_is_given(names: list[str] | None, selection: Selection, every: bool) -> None:
    with pytest.raises(typer.BadParameter, match="select tenants"):
        order_of(names, selection, every=every, dry_run=True)


@pytest.mark.parametrize(
    ("command", "dry_run", "lines"),
    [
        ("pause", False, ["acme: paused", "globex: unchanged, it was paused before"]),
        ("cancel", False, ["acme: cancelled", "globex: unchanged, no run was in progress"]),
        ("resume", True, ["acme: would be resumed", "globex: unchanged, it was not paused"]),
    ],
)
def test_each_tenant_has_a_line_and_all_a_sum(command: str, dry_run: bool, lines: list[str]) -> None:
    *tenants, total = in_lines(command, [DONE, UNCHANGED, REFUSED, BROKEN], dry_run=dry_run)
    refused = ["hooli: refused: it is disabled; enable it", "initech: refused: the disk is full"]
    assert tenants == [*lines, *refused]
    assert total == f"1 {lines[0].removeprefix('acme: ')}, 1 unchanged, 2 refused"


def test_none_is_said() -> None:
    assert list(in_lines("trigger", [], dry_run=False)) == ["no tenant is selected"]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [([], 0), ([DONE], 0), ([DONE, UNCHANGED], 0), ([DONE, REFUSED], 3), ([REFUSED, BROKEN], 1)],
)
def test_the_exit_code_says_whether_some_or_all_were_refused(outcomes: list[Any], code: int) -> None:
    assert exit_code(outcomes) == code
