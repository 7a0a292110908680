"""Instants as operators write them: how long ago, or a date and time with its zone."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from adsyncd.clock import SystemClock
from adsyncd.duration import parse_duration

_FORMS = 'write how long ago it was, such as "2h", or an instant with its zone, such as "2026-11-25T12:00:00+01:00"'


def instant(text: str, now: datetime) -> datetime:
    """Return the instant that a text names, in UTC. Raises ValueError, with a message for an operator."""
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(_FORMS)


def parsed(text: str | datetime) -> datetime:
    """Return the value of an option that names an instant. Raises BadParameter."""
    try:
        return text if isinstance(text, datetime) else instant(text, SystemClock().now())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=parsed, metavar="TIME", help='Only from then on: "2h" ago, or an instant.'),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=parsed, metavar="TIME", help='Only before: "2h" ago, or an instant.'),
]
