from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from unittest.mock import Mock

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select, text

from adsyncd.errors import LeaseHeld, LeaseLost, Stopping, StoreError
from adsyncd.model.lease import Lease
from adsyncd.runs.lease import Leases
from adsyncd.store import Store, tables
from support.examples import examples
from support.inline_store import Disk, inline_store
from support.records import run

TTL_S = 30.0


@dataclass(frozen=True, slots=True)
class Owner:
    """One who knows that those in `gone` have ended."""

    id: str
    gone: set[str] = field(default_factory=set)

    def is_gone(self, other: str) -> bool:
        return other in self.gone


class Process:
    """A process that is at work on the tenant acme whenever it can be. While it stands still, nothing of it goes on."""

    def __init__(self, number: int, gone: set[str], store: Store, numbers: "count[int]") -> None:
        self.owner = Owner(f"process {number}", gone)
        self.longest_still_s = 0.0
        self.wrote = anyio.Event()
        self.lost = False
        self._number = number
        self._store = store
        self._numbers = numbers
        self._moves = anyio.Event()
        self._moves.set()
        self._still_since = 0.0
        self._done = anyio.Event()
        self._tasks = anyio.create_task_group()

    async def live(self) -> None:
        leases = Leases(self, self.owner)
        async with self._tasks:
            self._tasks.start_soon(leases.run)
            while True:
                try:
                    async with leases.hold("acme", self._pause) as lease:
                        await self._work(lease)
                except LeaseHeld:
                    await self._pause(3)
                except LeaseLost:
                    self.lost = True

    def rest(self) -> None:
        """Be done with what it is at work on."""
        self._done.set()

    def freeze(self) -> None:
        if self._moves.is_set():
            self._moves, self._still_since = anyio.Event(), anyio.current_time()

    def thaw(self) -> None:
        if not self._moves.is_set():
            self.longest_still_s = max(self.longest_still_s, anyio.current_time() - self._still_since)
            self._moves.set()

    def die(self) -> None:
        self._tasks.cancel_scope.cancel()

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        await self._moves.wait()
        taken = await self._store.take_lease(tenant, owner, over)
        await self._moves.wait()
        return taken

    async def give_lease(self, lease: Lease) -> None:
        await self._moves.wait()
        await self._store.give_lease(lease)

    async def beat_leases(self, held: Sequence[Lease]) -> None:
        await self._moves.wait()
        await self._store.beat_leases(held)

    async def _pause(self, wait_s: float) -> None:
        await anyio.sleep(wait_s)
        await self._moves.wait()

    async def _work(self, lease: Lease) -> None:
        """Begin runs that tell by which fence and whom, until told to rest."""
        self._done = anyio.Event()
        while not self._done.is_set():
            await self._moves.wait()
            this = replace(run(number=next(self._numbers)), trace_id=f"{lease.fence:016}{self._number:016}")
            await self._store.held(lease).begin(this)
            self.wrote.set()
            with anyio.move_on_after(3):
                await self._done.wait()


@asynccontextmanager
async def beating(leases: Leases) -> AsyncIterator[None]:
    """Let a process give signs of life."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leases.run)
        yield
        tasks.cancel_scope.cancel()


async def waited(leases: Leases, tenant: str = "acme") -> float:
    """Hold a lease, and return how long it took to have it."""
    began = anyio.current_time()
    async with leases.hold(tenant):
        return anyio.current_time() - began


async def test_a_tenant_is_in_the_hands_of_one_process_until_that_is_done(store: Store) -> None:
    mine, yours = Leases(store, Owner("process 1 on box; here")), Leases(store, Owner("process 2 on box; here"))
    async with beating(mine):
        async with mine.hold("acme"):
            with pytest.raises(LeaseHeld) as refused:
                await waited(yours)
            assert await waited(yours, "globex") == 0
        assert str(refused.value) == (
            "process 1 on box is working on tenant acme: wait until it is done, or see `adsyncd status acme`"
        )
        assert await waited(yours) == 0


async def test_who_finds_a_tenant_in_other_hands_knows_soon_that_they_live(store: Store) -> None:
    mine, yours = Leases(store, Owner("mine")), Leases(store, Owner("yours"))
    async with beating(mine), mine.hold("acme"):
        for _ in range(10):
            began = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await waited(yours)
            assert anyio.current_time() - began <= 6
            await anyio.sleep(0.7)


async def test_a_dead_process_s_tenant_is_taken_at_once_where_its_death_is_known_and_else_when_its_time_is_out(
    store: Store,
) -> None:
    await store.take_lease("acme", "dead")
    await store.take_lease("globex", "dead")
    assert await waited(Leases(store, Owner("near", gone={"dead"}))) == 0
    assert await waited(Leases(store, Owner("far")), "globex") == TTL_S


async def test_a_death_that_becomes_known_in_the_meantime_is_not_waited_for(store: Store) -> None:
    await store.take_lease("acme", "dying")
    owner = Owner("mine")
    async with anyio.create_task_group() as tasks:

        async def die() -> None:
            await anyio.sleep(3.5)
            owner.gone.add("dying")

        tasks.start_soon(die)
        assert await waited(Leases(store, owner)) == 4


async def test_what_a_process_does_for_a_tenant_at_once_shares_a_lease_up_to_the_last(store: Store) -> None:
    mine, yours = Leases(store, Owner("mine")), Leases(store, Owner("yours"))
    leases: list[Lease] = []

    async def work(lasts_s: float) -> None:
        async with mine.hold("acme") as lease:
            leases.append(lease)
            await anyio.sleep(lasts_s)

    async with beating(mine), anyio.create_task_group() as tasks:
        for lasts_s in (3, 8.5, 6):
            tasks.start_soon(work, lasts_s)
        await anyio.sleep(8)
        assert await waited(yours) == 1
    assert leases == [Lease("acme", "mine", 1, 0)] * 3


async def test_a_lease_that_is_taken_while_it_is_given_back_is_held() -> None:
    left = anyio.Event()

    async def keep_the_database_busy() -> None:
        while True:
            await store.take_lease("globex", "mine")

    async def leave() -> None:
        async with mine.hold("acme"):
            await anyio.sleep(0.25)
            left.set()

    async with inline_store(Disk(takes_s=0.5)) as store, anyio.create_task_group() as tasks:
        mine = Leases(store, Owner("mine"))
        tasks.start_soon(keep_the_database_busy)
        tasks.start_soon(leave)
        await left.wait()
        async with mine.hold("acme") as lease:
            await store.held(lease).begin(run())
        tasks.cancel_scope.cancel()


async def test_a_lease_is_given_back_whatever_becomes_of_the_work(store: Store) -> None:
    mine, yours = Leases(store, Owner("mine")), Leases(store, Owner("yours"))
    with pytest.raises(KeyError):
        async with mine.hold("acme"):
            raise KeyError
    assert await waited(yours) == 0


async def test_work_that_is_cancelled_leaves_its_lease_to_its_own_process_or_to_time(store: Store) -> None:
    mine, yours = Leases(store, Owner("mine")), Leases(store, Owner("yours"))

    async def cancelled(tenant: str) -> None:
        with anyio.CancelScope() as scope:
            async with mine.hold(tenant):
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    async with beating(mine):
        await cancelled("acme")
        assert await waited(mine) == 0
        await cancelled("acme")
        assert await waited(yours) == TTL_S


async def test_a_database_in_trouble_is_no_reason_to_stop_giving_signs_of_life_or_to_lose_what_was_done(
    store: Store, disk: Disk
) -> None:
    mine, yours = Leases(store, Owner("mine")), Leases(store, Owner("yours"))
    async with beating(mine):
        async with mine.hold("acme"):
            disk.gone = True
            await anyio.sleep(20)
            disk.gone = False
            with pytest.raises(LeaseHeld):
                await waited(yours)
            disk.gone = True
        with pytest.raises(StoreError):
            await waited(mine)
        disk.gone = False
        assert await waited(mine) == 0


async def test_a_stop_ends_the_wait_for_a_lease(store: Store) -> None:
    await store.take_lease("acme", "other")
    leases = Leases(store, Owner("mine", gone=set()))

    async def pause(_: float) -> None:
        raise Stopping

    with pytest.raises(Stopping):
        async with leases.hold("acme", pause):
            pass
    assert await waited(leases) == TTL_S


async def test_a_process_with_nothing_to_do_writes_nothing() -> None:
    ledger = Mock()
    with anyio.move_on_after(1000):
        await Leases(ledger, Owner("mine")).run()
    assert ledger.mock_calls == []


async def writers(store: Store) -> list[tuple[int, int]]:
    """Return the fence and the process of all writes that were accepted, in their order."""
    query = select(tables.runs.c.trace_id).order_by(text("rowid"))
    return await store._read(lambda connection: [(int(of[:16]), int(of[16:])) for of in connection.scalars(query)])


STEPS = st.tuples(
    st.sampled_from([1.0, 13.0, 41.0]),
    st.integers(0, 1),
    st.sampled_from(["rest", "freeze", "freeze", "thaw", "thaw", "die", "die unseen"]),
)


@examples(20)
@given(steps=st.lists(STEPS, max_size=12), takes_s=st.sampled_from([0.0, 0.3]))
@example(steps=[(41.0, 0, "freeze"), (1.0, 0, "thaw")], takes_s=0.0)
async def test_no_two_processes_write_by_turns_and_what_one_leaves_is_taken_within_the_time_to_live(
    steps: list[tuple[float, int, str]], takes_s: float
) -> None:
    numbers, gone = count(), set[str]()
    lived: list[Process] = []
    async with inline_store(Disk(takes_s)) as store:
        async with anyio.create_task_group() as machine:

            def born() -> Process:
                lived.append(Process(len(lived), gone, store, numbers))
                machine.start_soon(lived[-1].live)
                return lived[-1]

            living = [born(), born()]
            await anyio.sleep(1)
            for lasts_s, which, what in steps:
                if what.startswith("die"):
                    living[which].die()
                    if what == "die":
                        gone.add(living[which].owner.id)
                    living[which] = born()
                else:
                    getattr(living[which], what)()
                await anyio.sleep(lasts_s)
            for process in living:
                process.freeze()
            await anyio.sleep(10 * takes_s)  # what is under way in the database
            with anyio.fail_after(TTL_S + 1 + 100 * takes_s):
                await born().wrote.wait()
            machine.cancel_scope.cancel()
        accepted = await writers(store)
        assert accepted == sorted(accepted)
        assert len({fence for fence, _ in accepted}) == len(set(accepted))
        assert all(process.longest_still_s > TTL_S - 10 for process in lived if process.lost)
