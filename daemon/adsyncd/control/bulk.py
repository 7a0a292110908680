"""Commands to many tenants at once. The daemon decides which are meant, when it takes the command.

Each tenant has an outcome of its own: one that refuses keeps no other back. Writes go side by side, so that the store
commits them in groups.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio

from adsyncd.control.attention import Overview
from adsyncd.control.census import Census
from adsyncd.control.commands import Commands
from adsyncd.control.endpoint import Asked, Endpoint
from adsyncd.control.orders import CancelsOrder, Effect, Named, Selected, TenantOutcome, TenantsOrder, sums
from adsyncd.control.statuses import Member
from adsyncd.errors import AdsyncdError, CommandRefused, NoSuchTenant, Stopping, StoreError
from adsyncd.model.selection import EVERYTHING
from adsyncd.model.status import State
from adsyncd.tasks import give_way
from adsyncd.tenants.worker import Worker

_AT_ONCE = 100  # tenants whose command is in progress


@dataclass(frozen=True, slots=True)
class _Command:
    """`changes`: whether it would change something for a tenant; raises CommandRefused. `act` does it.

    `starts`: it starts or ends runs, which a daemon that stops refuses.
    """

    changes: Callable[[Worker], bool]
    act: Callable[[Commands, Worker, Any], Awaitable[None]]
    starts: bool = False


async def _pause(commands: Commands, worker: Worker, _order: TenantsOrder) -> None:
    await commands.in_time(worker.pause)


async def _resume(commands: Commands, worker: Worker, _order: TenantsOrder) -> None:
    # Also if it is not paused: a write that seemed to fail may have paused it on record.
    await commands.in_time(worker.resume)


async def _trigger(commands: Commands, worker: Worker, _order: TenantsOrder) -> None:
    commands.trigger(worker.tenant.id)


async def _cancel(commands: Commands, worker: Worker, order: CancelsOrder) -> None:
    if worker.running:
        await commands.cancel(worker.tenant.id, resumable=order.resumable)


def _starts(worker: Worker) -> bool:
    worker.refuse_trigger()
    return True


_PAUSE = _Command(lambda worker: worker.facts().paused_since is None, _pause)
_RESUME = _Command(lambda worker: worker.facts().paused_since is not None, _resume)
_TRIGGER = _Command(_starts, _trigger, starts=True)
_CANCEL = _Command(lambda worker: worker.running, _cancel, starts=True)


class Bulk:
    """Executes commands on the tenants that an order means.

    Its methods raise CommandRefused if the order can mean no tenant, and Stopping.
    """

    def __init__(self, commands: Commands, overview: Overview) -> None:
        self._commands = commands
        self._overview = overview

    async def tell(self, command: _Command, order: TenantsOrder) -> list[TenantOutcome]:
        """Execute a command on each tenant that `order` means, or only say what it would do. Return the outcomes."""
        if command.starts:
            self._commands.check_ready()
        everyone = await self._overview.look()
        meant = _meant(order, everyone)
        outcomes = dict[str, TenantOutcome]()
        turn, failed = anyio.CapacityLimiter(_AT_ONCE), list[StoreError]()

        async def one(tenant_id: str) -> None:
            async with turn:
                try:
                    if failed:  # it would fail for each tenant, after a wait of seconds
                        raise failed[0]
                    changes = await self._one(command, tenant_id, everyone.members, order)
                except (CommandRefused, Stopping, StoreError) as error:
                    failed.extend([error] if isinstance(error, StoreError) else [])
                    outcomes[tenant_id] = _refused(tenant_id, error)
                else:
                    effect = Effect.DONE if changes else Effect.UNCHANGED
                    outcomes[tenant_id] = TenantOutcome(tenant=tenant_id, outcome=effect)

        async with anyio.create_task_group() as tasks:
            for number, tenant_id in enumerate(meant):
                tasks.start_soon(one, tenant_id)
                await give_way(number, _AT_ONCE)
        return [outcomes[tenant_id] for tenant_id in meant]

    async def _one(self, command: _Command, tenant_id: str, members: Mapping[str, Member], order: TenantsOrder) -> bool:
        """Return whether the command changes something for a tenant, after executing it. Raises as `tell` collects."""
        match members.get(tenant_id):
            case Member(state=State.DISABLED):
                raise CommandRefused("it is disabled", "enable it in its drop-in, and run: adsyncd reload")
            case Member(state=State.REFUSED):
                raise CommandRefused("its files were never valid", "see adsyncd check")
            case None:
                raise NoSuchTenant("there is no such tenant", "adsyncd status lists all")
        worker = self._commands.worker(tenant_id)
        changes = command.changes(worker)
        if not order.dry_run:
            await command.act(self._commands, worker, order)
        return changes


def _meant(order: TenantsOrder, everyone: Census) -> Sequence[str]:
    """Return the ids of the tenants that an order means: named ones in its order, others sorted.

    Raises CommandRefused if no tenant, of whatever kind, has the platform and the id that the selection says.
    """
    match order.tenants:
        case Named(ids=ids):
            return list(dict.fromkeys(ids))
        case Selected(selection=conditions):
            selection = conditions.selection
        case _:
            selection = EVERYTHING
    found = everyone.ids(selection)
    always = replace(selection, kinds=frozenset())
    if not found and not everyone.ids(always):
        raise CommandRefused(f"no tenant has {always.in_words() or 'a drop-in'}", "adsyncd status lists all")
    return found


def _refused(tenant_id: str, error: AdsyncdError) -> TenantOutcome:
    what, fix = (error.what, error.fix) if isinstance(error, CommandRefused) else (str(error), None)
    return TenantOutcome(tenant=tenant_id, outcome=Effect.REFUSED, error=what, fix=fix)


async def _told(bulk: Bulk, asked: Asked, command: _Command) -> list[TenantOutcome]:
    order: TenantsOrder = asked.order
    asked.notes.update(order.noted())
    outcomes = await bulk.tell(command, order)
    found = sums(outcomes)
    asked.notes.update(found)
    if outcomes and found[Effect.REFUSED] == len(outcomes):
        asked.notes["outcome"] = "refused"
    return outcomes


def _endpoint(path: str, summary: str, command: _Command, order: type[TenantsOrder] = TenantsOrder) -> Endpoint[Bulk]:
    return Endpoint(
        "POST",
        path,
        summary,
        list[TenantOutcome],
        partial(_told, command=command),
        order=order,
        refusals={
            HTTPStatus.CONFLICT: "The selection has no condition, or one that no tenant can satisfy.",
            HTTPStatus.SERVICE_UNAVAILABLE: "The daemon is stopping.",
        },
    )


BULK: tuple[Endpoint[Bulk], ...] = (
    _endpoint("/v1/pause", "Pause tenants, and return the outcome of each", _PAUSE),
    _endpoint("/v1/resume", "Resume tenants, and return the outcome of each", _RESUME),
    _endpoint("/v1/trigger", "Start a run of each of these tenants, and return the outcome of each", _TRIGGER),
    _endpoint(
        "/v1/cancel",
        "End the runs in progress of tenants, for good or to be resumed, and return the outcome of each",
        _CANCEL,
        CancelsOrder,
    ),
)
