"""Shows the progress of the runs: on a terminal a bar for each tenant, elsewhere a line every few seconds.

It shows what everybody can see: the campaigns are counted in the daemon's database, retries and permits come from the
metrics that it exports.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from adsyncd.demo.collector import ExportedPoint
from adsyncd.model.run import Run
from adsyncd.telemetry.instruments import QUOTA_PERMITS, RETRIES, TENANT

_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class TenantProgress:
    """The progress of a tenant's run; `run` is None before it begins."""

    run: Run | None
    retries: int
    waits: bool

    @property
    def done(self) -> int:
        """The number of campaigns that were pushed so far, or stored if the run only does that."""
        return self.run.pushed + self.run.stored if self.run else 0

    def doing(self) -> str:
        """Return in a few words what the run does."""
        if self.run is None:
            return "starting"
        if self.run.outcome:
            return f"{self.run.outcome}, {self.run.retries} retried"
        words = f"{self.run.listed} listed, {self.retries} retried"
        return f"{words}, waiting for quota" if self.waits else words


Show = Callable[[Mapping[str, TenantProgress], float], None]


def progress_of(
    tenants: Sequence[str], runs: Mapping[str, Run], points: Sequence[ExportedPoint]
) -> dict[str, TenantProgress]:
    """Return each tenant's progress from its run and the latest exported metrics."""
    latest = {(point.name, point.attributes.get(TENANT)): point.value for point in points}
    return {
        tenant: TenantProgress(
            run=runs.get(tenant),
            retries=int(latest.get((RETRIES.name, tenant), 0)),
            waits=latest.get((QUOTA_PERMITS.name, tenant)) == 0,
        )
        for tenant in tenants
    }


@contextmanager
def progress(console: Console, tenants: Sequence[str], campaigns: int) -> Iterator[Show]:
    """Yield a function that shows the tenants' progress, given the seconds since the start."""
    if not console.is_terminal:
        yield _lines(console, campaigns)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    with Progress(*columns, console=console) as bars:
        ids = {tenant: bars.add_task(tenant, total=campaigns, doing="") for tenant in tenants}

        def show(progress_of: Mapping[str, TenantProgress], _elapsed_s: float) -> None:
            for tenant, state in progress_of.items():
                bars.update(ids[tenant], completed=state.done, doing=state.doing())

        yield show


def _lines(console: Console, campaigns: int) -> Show:
    due_s = 0.0

    def show(progress_of: Mapping[str, TenantProgress], elapsed_s: float) -> None:
        nonlocal due_s
        if elapsed_s >= due_s:
            due_s = elapsed_s + _LINE_EVERY_S
            counts = "  ".join(f"{tenant} {state.done}/{campaigns}" for tenant, state in progress_of.items())
            console.print(f"{elapsed_s:4.0f} s  {counts}", highlight=False)

    return show
