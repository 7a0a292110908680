"""The endpoints of /v1 in one table, from which the routes and the OpenAPI document are generated."""

from http import HTTPStatus
from typing import Any

from adsyncd.control import wire
from adsyncd.control.bulk import BULK
from adsyncd.control.commands import Commands
from adsyncd.control.endpoint import GONE, Asked, Endpoint
from adsyncd.control.lists import LISTS
from adsyncd.control.paging import Listed
from adsyncd.control.problem import FilesRefusedProblem
from adsyncd.errors import CommandRefused
from adsyncd.model.campaign import PushState
from adsyncd.model.failure import RunDetails, SharedReason
from adsyncd.model.run import Run
from adsyncd.model.status import Reloaded, ReloadPreview, TenantStatus, counted
from adsyncd.runs.plan import Plan
from adsyncd.telemetry import log

_STOPPING = {HTTPStatus.SERVICE_UNAVAILABLE: "The daemon is stopping, or the database can't be used."}
_UNKNOWN = {HTTPStatus.NOT_FOUND: "There is no such tenant."}


class FilesRefused(CommandRefused):
    """A reload refused files."""

    def __init__(self, report: Reloaded) -> None:
        number = sum(len(refusal.problems) for refusal in report.refused)
        super().__init__(
            f"{counted(number, 'problem')} in files", "fix the files under `report.refused`, and reload again"
        )
        self.report = report


async def _health(_commands: Commands, _asked: Asked) -> wire.Health:
    return wire.Health()


async def _ready(commands: Commands, _asked: Asked) -> wire.Health:
    commands.check_recording()
    return wire.Health()


async def _log_level(_commands: Commands, _asked: Asked) -> wire.LogLevel:
    return wire.LogLevel.model_validate({"level": log.level()})


async def _set_log_level(_commands: Commands, asked: Asked) -> wire.LogLevel:
    asked.notes["lowest_level"] = asked.order.level
    log.set_level(asked.order.level)
    return wire.LogLevel(level=asked.order.level)


async def _trigger(commands: Commands, asked: Asked) -> wire.Triggered:
    return wire.Triggered(tenant=asked.tenant, fire_time=commands.trigger(asked.tenant))


async def _cancel(commands: Commands, asked: Asked) -> wire.Cancelled:
    resumable = asked.order.resumable
    if resumable:
        asked.notes["resumable"] = True
    run_id = await commands.cancel(asked.tenant, resumable=resumable)
    return wire.Cancelled(tenant=asked.tenant, run_id=run_id, resumable=resumable)


async def _dead_letters(commands: Commands, asked: Asked) -> Listed[wire.DeadLetterAnswer] | list[SharedReason]:
    query = asked.query
    if query.group:
        if query.tenant or query.reason or query.after:
            raise CommandRefused("group=reason goes with `limit` alone", "leave out tenant, reason and after")
        return await commands.reasons(query.limit)
    page = await commands.dead_letters(query.tenant, query.reason, query.limit, query.after)
    return Listed([wire.DeadLetterAnswer.model_validate(letter) for letter in page.items], page.next)


async def _reload(commands: Commands, _asked: Asked) -> Reloaded:
    report = await commands.reload()
    if report.refused:
        raise FilesRefused(report)
    return report


async def _replay(commands: Commands, asked: Asked) -> list[wire.ReplayOutcome]:
    which = asked.order.dead_letters.model_dump(exclude={"all"})
    letters = await commands.meant(*(which.get(key) for key in ("tenant", "campaign_ids", "reason")))
    if asked.order.dry_run:
        return [wire.ReplayOutcome.of(letter, PushState.PENDING) for letter in letters]
    return [wire.ReplayOutcome.of(one.letter, one.state, one.error) for one in await commands.replay(letters)]


COMMANDS: tuple[Endpoint[Commands], ...] = (
    Endpoint("GET", "/v1/health", "Whether the daemon answers", wire.Health, _health),
    Endpoint(
        "GET",
        "/v1/ready",
        "Whether runs begin and are recorded now",
        wire.Health,
        _ready,
        refusals={
            HTTPStatus.SERVICE_UNAVAILABLE: "The daemon is stopping, the database fails or is slow, or no run could "
            "begin lately."
        },
    ),
    Endpoint(
        "GET",
        "/v1/tenants/{tenant}",
        "A tenant's status: its state, what it waits for and until when",
        TenantStatus,
        lambda commands, asked: commands.tenant(asked.tenant),
        refusals=_UNKNOWN,
    ),
    Endpoint(
        "GET",
        "/v1/tenants/{tenant}/runs",
        "A tenant's latest runs, newest first; also of a removed tenant",
        list[Run],
        lambda commands, asked: commands.runs_of(asked.tenant, **dict(asked.query)),
        query=wire.RunsOfTenantQuery,
        refusals=GONE,
    ),
    Endpoint(
        "GET",
        "/v1/tenants/{tenant}/runs/{run}",
        "A run, and the campaigns that it did not push, the latest failure first",
        RunDetails,
        lambda commands, asked: commands.run(asked.tenant, asked.run, asked.query.limit),
        query=wire.RunQuery,
        refusals={**GONE, HTTPStatus.NOT_FOUND: "The tenant has no such run, or it is no longer kept."},
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/trigger",
        "Start a run of a tenant",
        wire.Triggered,
        _trigger,
        status=HTTPStatus.ACCEPTED,
        refusals={
            **_UNKNOWN,
            **_STOPPING,
            HTTPStatus.CONFLICT: "A run of the tenant is in progress, or the tenant is paused or disabled.",
        },
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/cancel",
        "End a tenant's run in progress, for good or to be resumed; its requests in flight may finish",
        wire.Cancelled,
        _cancel,
        order=wire.CancelOrder,
        status=HTTPStatus.ACCEPTED,
        refusals={
            **_UNKNOWN,
            **_STOPPING,
            HTTPStatus.CONFLICT: "No run of the tenant is in progress, or it ends already, or the tenant is disabled.",
        },
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/pause",
        "Pause a tenant until it is resumed, also across restarts; a run in progress ends normally",
        TenantStatus,
        lambda commands, asked: commands.pause(asked.tenant),
        refusals={**_UNKNOWN, **GONE, HTTPStatus.CONFLICT: "The tenant is disabled."},
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/resume",
        "Resume a tenant, from its next fire time on",
        TenantStatus,
        lambda commands, asked: commands.resume(asked.tenant),
        refusals={**_UNKNOWN, **GONE, HTTPStatus.CONFLICT: "The tenant is disabled."},
    ),
    Endpoint(
        "GET",
        "/v1/runs",
        "The latest runs of all tenants, newest first",
        list[Run],
        lambda commands, asked: commands.all_runs(asked.query.limit, asked.query.after),
        query=wire.RunsQuery,
        refusals=GONE,
    ),
    Endpoint(
        "GET",
        "/v1/dead-letters",
        "Dead letters (campaigns that runs skip), oldest first, or how many have which reason",
        list[wire.DeadLetterAnswer] | list[SharedReason],
        _dead_letters,
        query=wire.DeadLettersQuery,
        refusals=GONE,
    ),
    Endpoint(
        "POST",
        "/v1/dead-letters/replay",
        "Push dead letters again, and return the outcome of each; the quota decides how long that takes",
        list[wire.ReplayOutcome],
        _replay,
        order=wire.ReplayOrder,
        refusals={**_STOPPING, HTTPStatus.CONFLICT: "A named campaign has no dead letter."},
    ),
    Endpoint(
        "GET",
        "/v1/plan",
        "How much of the quotas the schedules need",
        Plan,
        lambda commands, _: commands.plan(),
        refusals={**GONE, HTTPStatus.CONFLICT: "There are more than 1,000 tenants."},
    ),
    Endpoint("GET", "/v1/log-level", "The lowest level that the daemon logs", wire.LogLevel, _log_level),
    Endpoint(
        "POST",
        "/v1/log-level",
        "Log from another level on, until the daemon restarts",
        wire.LogLevel,
        _set_log_level,
        order=wire.LogLevelOrder,
    ),
    Endpoint(
        "GET",
        "/v1/reload",
        "What a reload would change now; nothing is applied",
        ReloadPreview,
        lambda commands, _: commands.preview(),
    ),
    Endpoint(
        "POST",
        "/v1/reload",
        "Reload settings and drop-ins, and return the changes once that is done",
        Reloaded,
        _reload,
        refusals={**_STOPPING, HTTPStatus.CONFLICT: "Some files were refused; all others are in force."},
        conflict=FilesRefusedProblem,
    ),
)

ENDPOINTS: tuple[Endpoint[Any], ...] = (*COMMANDS, *BULK, *LISTS)
