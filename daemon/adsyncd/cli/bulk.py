"""Commands to several tenants: which are meant, and the lines and the exit code of their outcomes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from adsyncd.control.orders import Effect, TenantOutcome
from adsyncd.model.selection import Selection

Order = Mapping[str, Any]  # the body of a command to several tenants

TheTenants = Annotated[
    list[str] | None, typer.Argument(metavar="TENANT...", help="The ids of tenants.", show_default=False)
]
Every = Annotated[bool, typer.Option("--all", help="All tenants.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only list what would be done.")]

_SELECT = "select tenants: TENANT..., or --failing, --late, --waiting, --paused, --platform and --match, or --all"
_REFUSED_FOR_SOME = 3
_WORDS = {  # command -> done, and unchanged
    "trigger": ("triggered", ""),
    "pause": ("paused", "it was paused before"),
    "resume": ("resumed", "it was not paused"),
    "cancel": ("cancelled", "no run was in progress"),
}


def order_of(tenants: Sequence[str] | None, selection: Selection, *, every: bool, dry_run: bool) -> str | Order:
    """Return the one tenant that is named, or the order to several. A missing argument never selects all.

    Raises BadParameter unless exactly one of names, a selection and `every` is given.
    """
    names = list(dict.fromkeys(tenants or ()))
    if sum((bool(names), not selection.everything, every)) != 1:
        raise typer.BadParameter(_SELECT)
    if len(names) == 1 and not dry_run:
        return names[0]
    if names:
        return {"tenants": {"ids": names}, "dry_run": dry_run}
    if every:
        return {"tenants": {"all": True}, "dry_run": dry_run}
    conditions = {"state": sorted(selection.kinds), "platform": selection.platform, "match": selection.match}
    return {"tenants": {"selection": {key: value for key, value in conditions.items() if value}}, "dry_run": dry_run}


def in_lines(command: str, outcomes: Sequence[TenantOutcome], *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each tenant, and their sum."""
    done, before = _WORDS[command]
    if dry_run:
        done = f"would be {done}"
    for one in outcomes:
        match one.outcome:
            case Effect.DONE:
                yield f"{one.tenant}: {done}"
            case Effect.UNCHANGED:
                yield f"{one.tenant}: unchanged, {before}"
            case Effect.REFUSED:
                yield f"{one.tenant}: refused: {'; '.join(filter(None, (one.error, one.fix)))}"
    numbers = Counter(one.outcome for one in outcomes)
    words = {Effect.DONE: done, Effect.UNCHANGED: "unchanged", Effect.REFUSED: "refused"}
    yield (
        ", ".join(f"{numbers[each]} {word}" for each, word in words.items() if numbers[each]) or "no tenant is selected"
    )


def exit_code(outcomes: Sequence[TenantOutcome]) -> int:
    """Return 0 if none was refused, 1 if all were, and 3 if some were."""
    refused = sum(one.outcome is Effect.REFUSED for one in outcomes)
    if not refused:
        return 0
    return 1 if refused == len(outcomes) else _REFUSED_FOR_SOME
