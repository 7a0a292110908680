"""The options that select tenants, which commands share."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from pydantic import TypeAdapter

from adsyncd.cli.client import Client
from adsyncd.errors import AdsyncdError
from adsyncd.model.selection import Selection, Show

_NAMES = TypeAdapter(list[str])
_KINDS = {
    "failing": (Show.FAILING, "Tenants whose last run failed, or whose runs can't be recorded."),
    "late": (Show.LATE, "Tenants that are late."),
    "waiting": (Show.WAITING, "Tenants whose run waits."),
    "paused": (Show.PAUSED, "Paused tenants."),
}
_OPTIONS = {
    **{name: (Annotated[bool, typer.Option(f"--{name}", help=told)], False) for name, (_, told) in _KINDS.items()},
    "platform": (
        Annotated[str | None, typer.Option("--platform", metavar="NAME", help="Tenants of this platform.")],
        None,
    ),
    "match": (
        Annotated[
            str | None, typer.Option("--match", metavar="GLOB", help="Tenants whose id matches, such as 'shop-*'.")
        ],
        None,
    ),
}


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that select tenants, for its argument `selection`.

    Kinds add up: `--failing --late` selects those that are failing or late. Other options narrow that.
    """

    @wraps(command)
    def selected(**values: Any) -> None:  # noqa: ANN401 - the values of all options
        kinds = frozenset(show for name, (show, _) in _KINDS.items() if values.pop(name))
        selection = Selection(kinds, values.pop("platform"), values.pop("match"))
        command(**values, selection=selection)

    signature = inspect.signature(command)
    own = [one for name, one in signature.parameters.items() if name != "selection"]
    given = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    selected.__signature__ = signature.replace(parameters=[*parameters, *given])  # type: ignore[attr-defined]
    selected.__annotations__ = {one.name: one.annotation for one in (*own, *given)}
    del selected.__wrapped__  # or its annotations would be read
    return selected


async def names(daemon: Client, selection: Selection) -> list[str]:
    """Return the ids of the selected tenants, sorted, as the daemon knows them. Raises as `Client.ask` does."""
    return await daemon.ask_all(f"/v1/names?{urlencode([*selection.query()])}", _NAMES)


async def refuse_none(daemon: Client, selection: Selection) -> None:
    """Raise AdsyncdError if no tenant, of whatever kind, has the platform and an id that matches.

    Raises as `Client.ask` does.
    """
    always = replace(selection, kinds=frozenset(), q=None)
    if not always.everything and not await names(daemon, always):
        raise no_tenant(always)


def no_tenant(selection: Selection) -> AdsyncdError:
    """Return the error about a platform or a pattern that no tenant has."""
    return AdsyncdError(f"no tenant has {selection.in_words()}; adsyncd status lists all")
