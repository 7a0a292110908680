"""The progress bar of a sync or a replay."""

from datetime import datetime

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from adsyncd.cli.times import brief
from adsyncd.clock import SystemClock
from adsyncd.model.run import Tally, Wait
from adsyncd.model.status import counted

_REDRAW_S = 0.1


async def show_progress(name: str, tally: Tally, console: Console) -> None:
    """Draw the progress on a terminal until cancelled. The total appears once it is known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    more = (TimeElapsedColumn(), TextColumn("{task.fields[doing]}", markup=False))
    with Progress(*columns, *more, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=None, doing="")

        def draw() -> None:
            progress.update(bar, total=tally.listed or None, completed=tally.settled, doing=_doing(tally))

        try:
            while True:
                draw()
                await anyio.sleep(_REDRAW_S)
        finally:
            draw()


def _doing(tally: Tally) -> str:
    retries = counted(tally.retries, "retry") if tally.retries else ""
    now = SystemClock().now()
    wait = tally.wait(now)
    return ", ".join(part for part in (retries, _waits(wait, now) if wait else "") if part)


def _waits(wait: Wait, now: datetime) -> str:
    until = f" until {brief(wait.until, now)}" if wait.until else ""
    return f"waiting for {wait.reason}{until}"
