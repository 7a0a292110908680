"""The endpoints of /v1, in one table: the routes and the OpenAPI document are both made of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from adsyncd.control import wire
from adsyncd.control.commands import Commands
from adsyncd.errors import CommandRefused
from adsyncd.model.campaign import PushState
from adsyncd.model.run import Run
from adsyncd.model.status import DaemonStatus, Reloaded, TenantStatus, counted
from adsyncd.runs.plan import Plan

_GONE = {HTTPStatus.SERVICE_UNAVAILABLE: "The database can't be used now."}
_STOPPING = {HTTPStatus.SERVICE_UNAVAILABLE: "The daemon is about to stop, or the database can't be used now."}
_UNKNOWN = {HTTPStatus.NOT_FOUND: "There is no such tenant."}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request that is in order asks for: the tenant in its path, its query and its order, where it has them."""

    tenant: str = ""
    query: Any = None
    order: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked (GET) or told (POST).

    `answer` is the type of what `call` returns. `refusals`: the statuses with which it may be refused beside those that
    anything may be, each with its reason; `conflict` is what it is answered then with 409.
    """

    method: str
    path: str
    summary: str
    answer: Any
    call: Callable[[Commands, Asked], Awaitable[object]]
    query: type[wire.Query] = wire.Query
    order: type[wire.Order] | None = None
    status: HTTPStatus = HTTPStatus.OK
    refusals: Mapping[HTTPStatus, str] = field(default_factory=dict)
    conflict: type[wire.ProblemDetails] = wire.ProblemDetails


class FilesRefused(CommandRefused):
    """A reload found files that are wrong."""

    def __init__(self, report: Reloaded) -> None:
        number = sum(len(refusal.problems) for refusal in report.refused)
        super().__init__(
            f"{counted(number, 'problem')} in files", "fix what `report` lists under `refused`, and reload again"
        )
        self.report = report


async def _health(_commands: Commands, _asked: Asked) -> wire.Health:
    return wire.Health()


async def _ready(commands: Commands, _asked: Asked) -> wire.Health:
    commands.check_ready()
    return wire.Health()


async def _trigger(commands: Commands, asked: Asked) -> wire.Triggered:
    return wire.Triggered(tenant=asked.tenant, fire_time=commands.trigger(asked.tenant))


async def _dead_letters(commands: Commands, asked: Asked) -> list[wire.DeadLetter]:
    query = asked.query
    found = await commands.dead_letters(query.tenant, query.reason, query.limit)
    return [wire.DeadLetter.model_validate(letter) for letter in found]


async def _reload(commands: Commands, _asked: Asked) -> Reloaded:
    report = await commands.reload()
    if report.refused:
        raise FilesRefused(report)
    return report


async def _replay(commands: Commands, asked: Asked) -> list[wire.Replayed]:
    which = asked.order.dead_letters.model_dump(exclude={"all"})
    letters = await commands.meant(*(which.get(key) for key in ("tenant", "campaign_ids", "reason")))
    if asked.order.dry_run:
        return [wire.Replayed.of(letter, PushState.PENDING) for letter in letters]
    return [wire.Replayed.of(one.letter, one.state, one.error) for one in await commands.replay(letters)]


ENDPOINTS = (
    Endpoint("GET", "/v1/health", "Whether the daemon answers", wire.Health, _health),
    Endpoint(
        "GET",
        "/v1/ready",
        "Whether the daemon begins runs",
        wire.Health,
        _ready,
        refusals={HTTPStatus.SERVICE_UNAVAILABLE: "The daemon is about to stop."},
    ),
    Endpoint(
        "GET",
        "/v1/status",
        "How the daemon stands",
        DaemonStatus,
        lambda commands, _: commands.status(),
    ),
    Endpoint(
        "GET",
        "/v1/tenants",
        "How each tenant stands",
        list[TenantStatus],
        lambda commands, _: commands.tenants(),
    ),
    Endpoint(
        "GET",
        "/v1/tenants/{tenant}",
        "How a tenant stands: what it does, what it waits for and until when",
        TenantStatus,
        lambda commands, asked: commands.tenant(asked.tenant),
        refusals=_UNKNOWN,
    ),
    Endpoint(
        "GET",
        "/v1/tenants/{tenant}/runs",
        "A tenant's latest runs, newest first; also of one that is there no more",
        list[Run],
        lambda commands, asked: commands.runs(asked.tenant, asked.query.limit),
        query=wire.RunsQuery,
        refusals=_GONE,
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/trigger",
        "Run a tenant now",
        wire.Triggered,
        _trigger,
        status=HTTPStatus.ACCEPTED,
        refusals={
            **_UNKNOWN,
            **_STOPPING,
            HTTPStatus.CONFLICT: "A run of the tenant goes on already, or it is paused or disabled.",
        },
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/pause",
        "Let a tenant rest until it is resumed, also after a restart; a run that goes on comes to its end",
        TenantStatus,
        lambda commands, asked: commands.pause(asked.tenant),
        refusals={**_UNKNOWN, **_GONE, HTTPStatus.CONFLICT: "The tenant is disabled."},
    ),
    Endpoint(
        "POST",
        "/v1/tenants/{tenant}/resume",
        "Let a tenant run again, from its next fire time on",
        TenantStatus,
        lambda commands, asked: commands.resume(asked.tenant),
        refusals={**_UNKNOWN, **_GONE, HTTPStatus.CONFLICT: "The tenant is disabled."},
    ),
    Endpoint(
        "GET",
        "/v1/runs",
        "The latest runs of all tenants, newest first",
        list[Run],
        lambda commands, asked: commands.runs(None, asked.query.limit),
        query=wire.RunsQuery,
        refusals=_GONE,
    ),
    Endpoint(
        "GET",
        "/v1/dead-letters",
        "Campaigns that runs leave alone, oldest first",
        list[wire.DeadLetter],
        _dead_letters,
        query=wire.DeadLettersQuery,
        refusals=_GONE,
    ),
    Endpoint(
        "POST",
        "/v1/dead-letters/replay",
        "Push dead letters again, and answer what became of each; that takes as long as the quota makes it",
        list[wire.Replayed],
        _replay,
        order=wire.ReplayOrder,
        refusals={**_STOPPING, HTTPStatus.CONFLICT: "One that is named is no dead letter."},
    ),
    Endpoint(
        "GET",
        "/v1/plan",
        "What the schedules need of the quotas",
        Plan,
        lambda commands, _: commands.plan(),
        refusals=_GONE,
    ),
    Endpoint(
        "POST",
        "/v1/reload",
        "Take up what settings and drop-ins say now, and answer what that changed once it is done",
        Reloaded,
        _reload,
        refusals={**_STOPPING, HTTPStatus.CONFLICT: "Files were refused; all others are in force."},
        conflict=wire.FilesRefused,
    ),
)
