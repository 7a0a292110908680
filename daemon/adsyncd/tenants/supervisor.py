"""Maps tenants' ids to their workers, and drains all of them at a stop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import anyio
from anyio.abc import TaskGroup

from adsyncd.errors import AdsyncdError, NoSuchTenant, Stopping
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Run, Tally
from adsyncd.model.tenant import Tenant
from adsyncd.runs.replay import Replayed
from adsyncd.telemetry.instruments import DEAD_LETTERS, LAST_SUCCESS
from adsyncd.tenants.diff import Change
from adsyncd.tenants.gauges import Gauges, begin
from adsyncd.tenants.services import Services
from adsyncd.tenants.worker import Worker


class Supervisor:
    """The tenants in service, each with its worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._workers: dict[str, Worker] = {}
        self._replays = 0  # of several tenants at a time
        self._rest = anyio.Event()
        self._stopping = False
        gauges = Gauges(
            lambda: dict(self._workers), services.governor.usage, services.clock.now(), services.clock.monotonic
        )
        services.instruments.observe(gauges.read)

    def worker(self, tenant_id: str) -> Worker:
        """Return a tenant's worker. Raises NoSuchTenant."""
        if tenant_id not in self._workers:
            raise NoSuchTenant(f'there is no tenant "{tenant_id}"', "adsyncd status lists all of them")
        return self._workers[tenant_id]

    def add(
        self,
        tenant: Tenant,
        *,
        paused_since: datetime | None = None,
        last_run: Run | None = None,
        last_success: datetime | None = None,
        dead_letters: int | None = None,
    ) -> None:
        """Take a tenant into service, with what the store knows of it.

        One that was removed and still has something in progress keeps its worker, and that its own knowledge.
        """
        instruments = self._services.instruments
        begin(instruments, tenant)
        if dead_letters is not None:
            instruments.set(DEAD_LETTERS, dead_letters, tenant=tenant.id)
        if last_success is not None:
            instruments.set(LAST_SUCCESS, last_success.timestamp(), tenant=tenant.id)
        if (worker := self._workers.get(tenant.id)) is not None:
            worker.leaving = False
            worker.change(Change(worker.tenant, tenant))
        else:
            self._workers[tenant.id] = Worker(tenant, self._services, self._at_rest, paused_since, last_run)

    def remove(self, tenant_id: str) -> None:
        """Start no run for a tenant any more, and drop its worker once nothing is in progress for it."""
        worker = self.worker(tenant_id)
        worker.leave()
        if not worker.busy:
            self._at_rest(worker)

    def tick(self, tasks: TaskGroup, tenant_id: str, fire_time: datetime) -> None:
        """Start a tenant's run as a task of `tasks`; see `Worker.tick`. A tick of an unknown tenant is ignored."""
        if (worker := self._workers.get(tenant_id)) is not None:
            worker.tick(tasks, fire_time)

    def refuse_if_stopping(self) -> None:
        """Raise Stopping if nothing new starts any more."""
        if self._stopping:
            raise Stopping("adsyncd is stopping: nothing new is started")

    @property
    def begin_problem(self) -> str | None:
        """Why no run could begin lately, or None."""
        return self._services.begins.problem

    @property
    def workers(self) -> Mapping[str, Worker]:
        """All workers, by their tenants' ids."""
        return self._workers

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """All tenants that have a worker, by id."""
        return {tenant_id: worker.tenant for tenant_id, worker in self._workers.items()}

    @property
    def open_breakers(self) -> Sequence[str]:
        """Why the circuit breakers of platforms' hosts are open, one text for each."""
        return self._services.connector.open_breakers

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    @property
    def runs(self) -> int:
        """How many runs are in progress."""
        return sum(worker.running for worker in self._workers.values())

    async def replay_all(
        self, letters: Iterable[DeadLetter], tally: Tally, *, refuse: Callable[[str], None]
    ) -> list[Replayed]:
        """Replay dead letters of any tenants, side by side, counting in `tally`, and return the outcome of each.

        `refuse` is called with each tenant's id. What it raises, and each error that concerns one tenant alone, leaves
        the letters of that tenant as they are, with the error for a reason.
        """
        replayed: list[Replayed] = []

        async def replay(tenant_id: str, its: Sequence[DeadLetter]) -> None:
            try:
                refuse(tenant_id)
                replayed.extend(await self.worker(tenant_id).replay(its, tally))
            except AdsyncdError as error:
                replayed.extend(Replayed(letter, PushState.PENDING, str(error)) for letter in its)

        def tenant_of(letter: DeadLetter) -> str:
            return letter.tenant

        self._replays += 1
        try:
            async with anyio.create_task_group() as tenants:
                for tenant_id, its in groupby(sorted(letters, key=tenant_of), tenant_of):
                    tenants.start_soon(replay, tenant_id, list(its))
        finally:
            self._replays -= 1
            self._wake()
        return replayed

    def stop(self) -> None:
        """Send nothing new. Requests in flight may finish; their runs stay open. Runs that have not begun stay due."""
        self._stopping = True
        self._services.turns.stop()
        self._services.governor.stop()
        self._services.connector.stop()

    async def drain(self, grace: timedelta) -> None:
        """Stop, and wait until nothing is in progress for any tenant, for `grace` at most."""
        self.stop()
        with anyio.move_on_after(grace.total_seconds()):
            while self._replays or any(worker.busy for worker in self._workers.values()):
                await self._rest.wait()

    def _at_rest(self, worker: Worker) -> None:
        if worker.leaving:
            del self._workers[worker.tenant.id]
            self._services.instruments.forget(worker.tenant.id)
        self._wake()

    def _wake(self) -> None:
        self._rest.set()
        self._rest = anyio.Event()
