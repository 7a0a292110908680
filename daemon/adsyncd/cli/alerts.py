"""`adsyncd alerts`: the alerts that fire, and what to do about each."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at
from adsyncd.cli.client import path_of, reaching
from adsyncd.cli.output import print_json, print_line
from adsyncd.cli.selection import names, refuse_none, selecting
from adsyncd.cli.times import full
from adsyncd.control.paging import MOST
from adsyncd.control.wire import AlertAnswer
from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.selection import Selection
from adsyncd.model.status import TenantStatus, counted, listed

_ALERTS = TypeAdapter(list[Alert])
_TENANT = TypeAdapter(TenantStatus)
_NAMED = 3  # tenants that have the same alert for the same reason

DO = {  # as docs/operate.md has it
    AlertName.LOW_SUCCESS_RATE: (
        "refused with a reason: adsyncd dead-letters list --tenant {tenant} has it. 5xx or no answer: wait for the "
        "next run"
    ),
    AlertName.RUNS_FAILING: (
        "the last error names the cause: the platform, base_url, a certificate, sync.run_deadline"
    ),
    AlertName.SIGN_IN_FAILING: (
        "all tenants at once: Vault or the platform. One: its password; then adsyncd trigger {tenant}"
    ),
    AlertName.NO_SUCCESS: "with another alert: that one first. Alone: paused? waiting? run not recorded?",
    AlertName.LATE: (
        "one of the fixes that adsyncd status {tenant} shows; all tenants at once: the platform or the database"
    ),
    AlertName.DEAD_LETTERS_GROWING: (
        "one reason for all: fix that, then adsyncd dead-letters replay --tenant {tenant}"
    ),
    AlertName.DEAD_LETTERS_AGEING: "replay or discard: adsyncd dead-letters list --tenant {tenant}",
    AlertName.LISTING_COLLAPSED: (
        "deleted upstream: nothing. Platform in trouble: adsyncd pause {tenant} until it recovers"
    ),
}


@selecting
def alerts(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Only those of this tenant.")] = None,
    config: Config = CONFIG,
    json: Json = False,
    at: Socket = None,
    *,
    selection: Selection,
) -> None:
    """Show the alerts that fire, the critical ones first: since when, why, and what to do.

    Alerts of several tenants for the same reason are one entry.

    Exits 0, also while alerts fire; 1 if there is no such tenant, or none has the platform or the pattern; 4 if there
    is no daemon, 5 if it does not answer in time.
    """
    found = in_order(anyio.run(_firing, asked_at(config, at), tenant, selection))
    if json:
        print_json([as_json(alert) for alert in found])
    else:
        for line in in_words(found):
            print_line(line)


async def _firing(socket: Path, tenant: str | None, selection: Selection) -> list[Alert]:
    async with reaching(socket) as daemon:
        found = await daemon.ask_all(f"/v1/alerts?limit={MOST}", _ALERTS)
        if tenant is not None:
            found = [alert for alert in found if alert.tenant == tenant]
            if not found:
                await daemon.ask("GET", path_of(tenant), _TENANT)  # is there such a tenant?
        if not selection.everything:
            if not (selected := set(await names(daemon, selection))):
                await refuse_none(daemon, selection)
            found = [alert for alert in found if alert.tenant in selected]
    return found


def in_order(found: list[Alert]) -> list[Alert]:
    """Return alerts with the critical ones first, each kind by their start."""
    return sorted(found, key=lambda alert: (alert.name.severity != "critical", alert.since, alert.tenant, alert.name))


def as_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as `alerts --json` prints it."""
    return {
        **AlertAnswer.model_validate(alert).model_dump(mode="json"),
        "do": DO[alert.name].format(tenant=alert.tenant),
    }


def in_words(found: list[Alert]) -> list[str]:
    """Return the lines about alerts, those of one kind for the same reason together, and their number."""
    alike = dict[tuple[AlertName, str], list[Alert]]()
    for alert in found:
        alike.setdefault((alert.name, alert.summary), []).append(alert)
    lines = list[str]()
    for (name, summary), alerts in alike.items():
        since = f"{'the first ' * (len(alerts) > 1)}since {full(alerts[0].since)}"
        lines.append(f"{name.severity}: {listed([alert.tenant for alert in alerts], most=_NAMED)}: {name}, {since}")
        lines.append(f"  {summary}")
        lines.append(f"  do: {DO[name].format(tenant=alerts[0].tenant)}")
    counts = Counter(alert.name.severity for alert in found)
    words = [f"{counts[severity]} {severity}" for severity in ("critical", "warning") if counts[severity]]
    return [*lines, f"{counted(len(found), 'alert')}: {', '.join(words)}" if found else "no alert fires"]
