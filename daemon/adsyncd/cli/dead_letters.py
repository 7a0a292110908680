"""`adsyncd dead-letters`: list, replay or discard the campaigns that runs skip."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from opentelemetry.trace import NoOpTracer
from rich.console import Console

from adsyncd import daemon
from adsyncd.cli.arguments import CONFIG, Config, Json, LogLevel, Socket, find_tenant
from adsyncd.cli.chosen import chosen, refuse_unknown
from adsyncd.cli.output import Terminal, letter_as_json, print_json, print_letter, print_letters, print_line
from adsyncd.cli.progress import show_progress
from adsyncd.cli.selection import selecting
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings, store_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.errors import AdsyncdError
from adsyncd.escaping import escaped
from adsyncd.host import event_loop
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Tally
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.runs.replay import Replayed
from adsyncd.store import open_reader, open_store
from adsyncd.tasks import beside

_NONE = "no dead letters"

_OfTenant = Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only this tenant's.")]
_ForReason = Annotated[
    str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Only those whose reason contains this text.")
]
_Every = Annotated[bool, typer.Option("--all", help="All dead letters.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only list the selected ones.")]
_TheTenant = Annotated[str | None, typer.Argument(metavar="TENANT", help="The one of this tenant,", show_default=False)]
_TheCampaign = Annotated[str | None, typer.Argument(metavar="CAMPAIGN", help="and this campaign.", show_default=False)]


@dataclass(frozen=True, slots=True)
class _Letters:
    """The selected dead letters: a named one, or those that match. `tenants`: of which tenants besides."""

    tenant: str | None
    campaign_id: str | None
    reason: str | None
    tenants: Selection = EVERYTHING


def application() -> typer.Typer:
    """Return the command with its subcommands."""
    app = typer.Typer(
        help="Campaigns that failed for good, which runs skip: list, replay or discard them.",
        no_args_is_help=True,
    )
    app.command("list")(list_)
    for command in (show, replay, discard):
        app.command()(command)
    return app


@selecting
def list_(
    config: Config = CONFIG,
    tenant: _OfTenant = None,
    reason: _ForReason = None,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """List dead letters, oldest first. The daemon need not run, except for --failing, --late, --waiting and --paused.

    Exits 0; 1 if there is no such tenant, or none has the platform or the pattern; 4 or 5 if a daemon is needed and
    does not answer.
    """
    letters = _Letters(tenant, None, reason, _of_tenants(tenant, selection))
    _print(anyio.run(_find, store_settings(config, os.environ), config, socket, letters), json=json)


def show(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN")],
    config: Config = CONFIG,
    json: Json = False,
) -> None:
    """Show a dead letter in detail, with the campaign as the platform lists it."""
    [letter] = anyio.run(_find, store_settings(config, os.environ), config, None, _Letters(tenant, campaign, None))
    if json:
        print_json(letter_as_json(letter))
    else:
        print_letter(letter)


@selecting
def replay(
    tenant: _TheTenant = None,
    campaign: _TheCampaign = None,
    config: Config = CONFIG,
    of_tenant: _OfTenant = None,
    reason: _ForReason = None,
    every: _Every = False,
    dry_run: _DryRun = False,
    socket: Socket = None,
    json: Json = False,
    log_level: LogLevel = "warning",
    selection: Selection = EVERYTHING,
) -> None:
    """Push dead letters again, now and without a daemon, each with its original idempotency key.

    A pushed campaign is no longer a dead letter; one that fails again stays one, with the new reason. After Ctrl-C,
    requests in flight may finish; the rest stays unchanged. Tenants that another process, such as the daemon, works on
    are skipped. Each tenant's quota is kept, so that many dead letters take long.

    Exits 0 when all were pushed, 3 when some were not, 1 when none was tried, or if there is no such tenant; 4 or 5 if
    a daemon is needed (--failing, --late, --waiting, --paused) and does not answer.
    """
    letters = _letters(tenant, campaign, of_tenant, reason, selection, every=every)
    settings = (store_settings if dry_run else load_settings)(config, os.environ)
    if dry_run:
        _print(anyio.run(_find, settings, config, socket, letters), json=json)
        return
    replayed = event_loop.run(_replay, settings, config, socket, letters, log_level, Terminal(stderr=True))
    if json:
        print_json([_outcome_as_json(each) for each in replayed])
    else:
        _print_outcomes(replayed)
    raise typer.Exit(_exit_code(replayed))


@selecting
def discard(
    tenant: _TheTenant = None,
    campaign: _TheCampaign = None,
    config: Config = CONFIG,
    of_tenant: _OfTenant = None,
    reason: _ForReason = None,
    every: _Every = False,
    dry_run: _DryRun = False,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Delete dead letters without pushing them: the tenants' next runs push the campaigns like any other.

    Each starts afresh, with all attempts and a new idempotency key, and becomes a dead letter again if the cause is not
    fixed. To skip a campaign for good, keep its dead letter; it ends when the campaign changes or is deleted upstream.

    Exits 0; 1 if there is no such dead letter or tenant; 4 or 5 if a daemon is needed (--failing, --late, --waiting,
    --paused) and does not answer.
    """
    selected = _letters(tenant, campaign, of_tenant, reason, selection, every=every)
    settings = store_settings(config, os.environ)
    letters = anyio.run(_find if dry_run else _discard, settings, config, socket, selected)
    _print(letters, json=json)
    if letters and not (json or dry_run):
        print_line(f"{len(letters)} discarded")


def _letters(
    tenant: str | None,
    campaign: str | None,
    of_tenant: str | None,
    reason: str | None,
    selection: Selection,
    *,
    every: bool,
) -> _Letters:
    """Return the selection of the arguments. A missing argument never selects everything."""
    narrowed = of_tenant is not None or reason is not None or not selection.everything
    if sum((tenant is not None, narrowed, every)) != 1:
        raise typer.BadParameter(
            "select dead letters: TENANT CAMPAIGN, or --tenant and --reason, or options that select tenants, or --all"
        )
    if tenant is not None and campaign is None:
        raise typer.BadParameter(f"name a campaign, or use --tenant {escaped(tenant)} for all of this tenant")
    return _Letters(tenant or of_tenant, campaign, reason, _of_tenants(of_tenant, selection))


def _of_tenants(tenant: str | None, selection: Selection) -> Selection:
    if tenant is not None and not selection.everything:
        raise typer.BadParameter("name one --tenant, or select tenants by other options")
    return selection


async def _find(settings: Settings, config: Path, socket: Path | None, selected: _Letters) -> list[DeadLetter]:
    """Return the selected dead letters.

    Raises AdsyncdError if a named campaign has none, and if a named tenant neither has records nor a drop-in.
    """
    tenant, campaign_id = selected.tenant, selected.campaign_id
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        if not selected.tenants.everything:
            dying, stored = await reader.dead_letter_counts(), await reader.stored_tenants()
            of = set(await chosen(selected.tenants, config, stored, socket) or ())
            some = [await reader.dead_letters(each, None, selected.reason) for each in dying if each in of]
            return sorted(chain.from_iterable(some), key=lambda one: (one.dead_at, one.tenant, one.campaign_id))
        found = await reader.dead_letters(tenant, campaign_id, selected.reason)
        if campaign_id is not None and not found:
            every = await reader.dead_letters(tenant, None, selected.reason)
            found = [letter for letter in every if escaped(letter.campaign_id) == campaign_id]  # as it is shown
        if tenant is not None and not found and tenant not in await reader.stored_tenants():
            refuse_unknown(tenant, config)
    if campaign_id is not None and len(found) != 1:
        what = "is not a dead letter" if not found else "names several dead letters: see list --json"
        raise AdsyncdError(f"campaign {campaign_id} of tenant {tenant} {what}")
    return found


async def _discard(settings: Settings, config: Path, socket: Path | None, selected: _Letters) -> list[DeadLetter]:
    if letters := await _find(settings, config, socket, selected):
        async with open_store(settings.store.url, clock=SystemClock(), tracer=NoOpTracer()) as store:
            await store.discard(letters)
    return letters


async def _replay(
    settings: Settings, config: Path, socket: Path | None, selected: _Letters, log_level: str, console: Console
) -> list[Replayed]:
    if not (letters := await _find(settings, config, socket, selected)):
        return []
    tally = Tally(listed=len(letters))
    async with daemon.open_parts(settings, os.environ, log_level) as parts:
        find = partial(find_tenant, settings, read_tenants(settings))
        async with beside(show_progress, "dead letters", tally, console):
            return await daemon.replay_once(parts, letters, tally, find)


def _exit_code(replayed: Sequence[Replayed]) -> int:
    states = {each.state for each in replayed}
    if states <= {PushState.PUSHED}:
        return 0
    return 1 if states == {PushState.PENDING} else 3


def _outcome_as_json(replayed: Replayed) -> dict[str, Any]:
    letter = replayed.letter
    return {
        "tenant": letter.tenant,
        "campaign_id": letter.campaign_id,
        "idempotency_key": letter.idempotency_key,
        "outcome": replayed.state,
        "error": replayed.error,
    }


def _print(letters: Sequence[DeadLetter], *, json: bool) -> None:
    if json:
        print_json([letter_as_json(letter) for letter in letters])
    elif letters:
        print_letters(letters)
    else:
        print_line(_NONE)


def _print_outcomes(replayed: Sequence[Replayed]) -> None:
    """Print the dead letters that remain with their reasons, and the counts of all."""
    for each in replayed:
        if each.state is not PushState.PUSHED:
            print_line(f"{each.letter.tenant} {each.letter.campaign_id}: {each.error}")
    counts = Counter(each.state for each in replayed)
    names = {PushState.PUSHED: "pushed", PushState.FAILED: "failed again", PushState.PENDING: "not tried"}
    print_line(", ".join(f"{counts[state]} {name}" for state, name in names.items() if counts[state]) or _NONE)
