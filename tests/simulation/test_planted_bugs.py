"""The simulator finds what is broken on purpose: one mechanism at a time, by the invariant that it is there for.

That these worlds are in order without a planted bug is in test_simulation.py.
"""

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count

import anyio
import httpx
import pytest
from sqlalchemy import update

from adsyncd.credentials import CredentialsSource
from adsyncd.errors import BadAnswer, StoreError
from adsyncd.model.campaign import Page, Push, PushState, idempotency_key
from adsyncd.model.lease import Lease
from adsyncd.model.run import Listing, Run, Tally
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.platforms import Connector, PlatformClient, Session, paging
from adsyncd.platforms.admission import Admission
from adsyncd.platforms.authority import TokenAuthority
from adsyncd.platforms.call import Call
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.reading import Listed, Reader
from adsyncd.platforms.words import Secrets
from adsyncd.rate import Gate, Governor, OnWait, Permit, Priority
from adsyncd.rate.bucket import Bucket
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.limiter import Limiter
from adsyncd.runs.deletion import Missing
from adsyncd.runs.lease import Leases
from adsyncd.runs.progress import RunCounts
from adsyncd.runs.pushing import PushQueue
from adsyncd.simulation.promises import Invariant
from adsyncd.simulation.simulation import Simulator
from adsyncd.simulation.world import World
from adsyncd.store import Store, ending, journal
from adsyncd.store.tables import campaigns
from adsyncd.tenants.turns import Turn
from adsyncd.tenants.worker import Worker
from support.isolation import mute_world, with_and_without_the_sick
from support.records import recorded
from support.worlds import costly_world, one_platform_world, pulling_world

Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS = range(40)  # within so many worlds each bug is found, most of them in the first or second


def permit_returned_on_send(patch: pytest.MonkeyPatch) -> None:
    """It cools from the send, and not from the answer: the platform may have counted the request later."""
    sent_at: dict[Permit, float] = {}
    record, cool = Permit.put_on_record, Permit.cool

    async def recorded(permit: Permit, timeout_s: float) -> bool:
        granted = await record(permit, timeout_s)
        sent_at[permit] = anyio.current_time()
        return granted

    patch.setattr(Permit, "put_on_record", recorded)
    patch.setattr(Permit, "cool", lambda permit, _written_at=None, **_: cool(permit, sent_at[permit]))
    patch.setattr(Gate, "counted_by", lambda _gate, at: at)


def permit_not_on_record(patch: pytest.MonkeyPatch) -> None:
    """It is in memory alone, so a process that is killed forgets what it had out."""

    async def put_on_record(_permit: Permit, _timeout_s: float) -> bool:
        return True

    patch.setattr(Permit, "put_on_record", put_on_record)


def permit_of_another_process_taken(patch: pytest.MonkeyPatch) -> None:
    """What another process has on record is not looked at."""
    claim_permits = Store.claim_permits

    async def claimed(store: Store, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        await claim_permits(store, claims)
        return ()

    patch.setattr(Store, "claim_permits", claimed)


def cost_ignored(patch: pytest.MonkeyPatch) -> None:
    """Each request takes one permit, though the platform meters by operation."""
    nowait, acquire = Gate.acquire_nowait, Gate.acquire

    def acquire_one(gate: Gate, priority: Priority, on_wait: OnWait, *, again: bool, **_: int) -> Awaitable[Permit]:
        return acquire(gate, priority, on_wait, again=again)

    patch.setattr(Gate, "acquire_nowait", lambda gate, _cost=1: nowait(gate))
    patch.setattr(Gate, "acquire", acquire_one)


def platform_quota_ignored(patch: pytest.MonkeyPatch) -> None:
    """Each tenant keeps to its own quota alone."""
    patch.setattr(Governor, "_pool", lambda *_: None)


def requests_not_spaced(patch: pytest.MonkeyPatch) -> None:
    """A platform that refuses bursts gets them."""
    pace = Limiter.pace
    patch.setattr(Limiter, "pace", lambda limits, *, paced: pace(limits, paced=paced and False))


def refund_on_read_timeout(patch: pytest.MonkeyPatch) -> None:
    """A permit is given back when nobody waits for the answer any more, though the platform counted the request."""
    cool = Permit.cool

    def refund_if_abandoned(permit: Permit, written_at: float | None = None, *, answered: bool = True) -> None:
        if answered:
            cool(permit, written_at)
        else:
            permit.refund()

    patch.setattr(Permit, "cool", refund_if_abandoned)


def journal_after_send(patch: pytest.MonkeyPatch) -> None:
    """A page is kept only when the first of its pushes has been sent."""
    unkept: dict[str, list[tuple[Page, PushPolicy]]] = defaultdict(list)
    settle, finish = Store.settle, Store.finish

    def keep(store: Store, run: Run) -> None:
        for page, policy in unkept.pop(run.run_id, []):
            store._writer.post(journal.keep, journal.Keep(run, page, policy, store._clock.now()))

    async def later(_store: Store, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        unkept[run.run_id].append((page, policy))
        return [Push(campaign.id, PushState.PENDING) for campaign in page.campaigns]

    def settled(store: Store, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        keep(store, run)
        settle(store, run, push, recorded)

    async def finished(store: Store, run: Run, *, misses: bool) -> int:
        keep(store, run)
        return await finish(store, run, misses=misses)

    patch.setattr(Store, "keep_page", later)
    patch.setattr(Store, "settle", settled)
    patch.setattr(Store, "finish", finished)


def key_changing_on_retry(patch: pytest.MonkeyPatch) -> None:
    """Each sending of a push has a key of its own, so the platform can't know that it is the same push."""
    send = PlatformClient._send

    async def with_another_key(client: PlatformClient, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        try:
            return await send(client, request)
        finally:
            if key:
                request.headers["idempotency-key"] = idempotency_key(key, "again", "")

    patch.setattr(PlatformClient, "_send", with_another_key)


def delete_on_partial_listing(patch: pytest.MonkeyPatch) -> None:
    """What a run has not seen is marked deleted, though it did not get to see all."""
    finish = Store.finish

    async def finished(store: Store, run: Run, *, misses: bool) -> int:  # noqa: ARG001 - the store's signature
        return await finish(store, replace(run, listing=Listing.COMPLETE))

    patch.setattr(Store, "finish", finished)


def repeated_cursor_followed(patch: pytest.MonkeyPatch) -> None:
    """No cursor is known again, and pages that bring nothing new are no reason to stop."""
    numbers = count()
    patch.setattr(paging, "_digest", lambda _cursor: next(numbers))
    patch.setattr(RunCounts, "check_end", lambda _counts, _number: None)


def pull_only_campaigns_pushed(patch: pytest.MonkeyPatch) -> None:
    """A tenant that only pulls owes pushes as others do."""
    keep_page = Store.keep_page

    async def kept(store: Store, run: Run, page: Page, _policy: PushPolicy) -> Sequence[Push]:
        return await keep_page(store, run, page, PushPolicy.ALL)

    patch.setattr(Store, "keep_page", kept)


def token_in_addresses(patch: pytest.MonkeyPatch) -> None:
    """A cursor that repeats the token is followed."""
    patch.setattr(Secrets, "are_in", lambda _secrets, _text: False)


def delete_after_one_listing(patch: pytest.MonkeyPatch) -> None:
    """A campaign that one complete listing misses is marked deleted, be the listing ever so short."""
    patch.setattr(ending, "_GONE", update(campaigns).where(ending._UNSEEN))
    patch.setattr(Missing, "collapsed", False)


def odd_item_fails_its_page(patch: pytest.MonkeyPatch) -> None:
    """A page with a campaign that can't be read is refused."""
    read = Reader.read

    def refused(reader: Reader, body: bytes, number: int, data: object = None) -> Listed:
        listed = read(reader, body, number, data)
        if listed.odd.count:
            raise BadAnswer(str(listed.odd))
        return listed

    patch.setattr(Reader, "read", refused)


def token_shared_between_tenants(patch: pytest.MonkeyPatch) -> None:
    """One session serves all tenants of a process."""
    own, shared = Connector.session, dict[int, Session]()

    def session(
        connector: Connector, tenant: Tenant, source: CredentialsSource, _before: Session | None = None
    ) -> Session:
        return shared.setdefault(id(connector), own(connector, tenant, source))

    patch.setattr(Connector, "session", session)


def push_lost_on_resume(patch: pytest.MonkeyPatch) -> None:
    """What an interrupted run still owed is taken for pushed."""
    open_runs = Store.open_runs

    async def forgotten(store: Store, tenant: str | None = None) -> list[Run]:
        for run in await open_runs(store, tenant):
            for push in (await store.begin(run)).owed:
                await recorded(store, run, Push(push.campaign_id, PushState.PUSHED))
        return await open_runs(store, tenant)

    patch.setattr(Store, "open_runs", forgotten)


def end_in_front_of_its_outcomes(patch: pytest.MonkeyPatch) -> None:
    """A run is over before the outcomes of its pushes are on record."""
    settle, finish = Store.settle, Store.finish
    unrecorded: dict[str, list[Push]] = defaultdict(list)

    def later(_store: Store, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        unrecorded[run.run_id].append(push)
        recorded(None)

    async def finished(store: Store, run: Run, *, misses: bool) -> int:
        letters = await finish(store, run, misses=misses)
        for push in unrecorded.pop(run.run_id, []):
            settle(store, run, push, lambda _error: None)
        return letters

    patch.setattr(Store, "settle", later)
    patch.setattr(Store, "finish", finished)


def failed_outcome_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A run goes on though the outcome of a push could not be recorded."""
    patch.setattr(PushQueue, "queued", lambda _queue, recorded: lambda _error: recorded())


def one_run_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """All tenants' runs stand in one line, so that a slow one makes the others wait."""
    one_at_a_time: dict[int, anyio.Lock] = {}
    sync = Worker.sync

    async def in_line(
        worker: Worker, fire_time: datetime, tally: Tally, halt: Halt | None = None, turn: Turn | None = None
    ) -> Run:
        async with one_at_a_time.setdefault(id(worker._services), anyio.Lock()):
            return await sync(worker, fire_time, tally, halt, turn)

    patch.setattr(Worker, "sync", in_line)


def permit_lost_on_failure(patch: pytest.MonkeyPatch) -> None:
    """A permit whose request failed never comes back."""
    cool = Bucket.cool

    def lose(bucket: Bucket, number: int, now: float) -> None:
        cool(bucket, number, now + (1e9 if sys.exception() else 0))

    patch.setattr(Bucket, "cool", lose)


def two_processes_at_work_on_a_tenant(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether another process has the tenant's lease."""

    @asynccontextmanager
    async def hold(_leases: Leases, tenant: str, _pause: object) -> AsyncIterator[Lease]:
        yield Lease(tenant, "", 0, 0)

    patch.setattr(Leases, "hold", hold)
    patch.setattr(Store, "held", lambda store, _lease: store)


def permit_held_while_signing_in(patch: pytest.MonkeyPatch) -> None:
    """A request takes its permit first, so that a sign-in that hangs keeps the others from the platform's quota."""
    admit, authorized = Admission.admit, TokenAuthority.authorized

    async def admitted(admission: Admission, request: httpx.Request, call: Call, *, again: bool) -> Permit | None:
        permit = await admit(admission, request, call, again=again)
        if permit is not None:
            assert isinstance(call.authority, TokenAuthority)
            try:
                await authorized(call.authority)
            except BaseException:
                permit.refund()
                raise
        return permit

    async def later(_authority: TokenAuthority) -> None: ...

    patch.setattr(TokenAuthority, "authorized", later)
    patch.setattr(Admission, "admit", admitted)


PLANTS: dict[Plant, Invariant] = {
    permit_returned_on_send: Invariant.QUOTA,
    permit_not_on_record: Invariant.QUOTA,
    permit_of_another_process_taken: Invariant.QUOTA,
    platform_quota_ignored: Invariant.QUOTA,
    requests_not_spaced: Invariant.QUOTA,
    refund_on_read_timeout: Invariant.QUOTA,
    journal_after_send: Invariant.JOURNALED,
    key_changing_on_retry: Invariant.ONCE,
    delete_on_partial_listing: Invariant.DELETED,
    delete_after_one_listing: Invariant.DELETED,
    odd_item_fails_its_page: Invariant.READ,
    token_shared_between_tenants: Invariant.TOKENS,
    push_lost_on_resume: Invariant.KEPT,
    end_in_front_of_its_outcomes: Invariant.RECONCILED,
    failed_outcome_forgotten: Invariant.RECONCILED,
    one_run_at_a_time: Invariant.ISOLATION,
    permit_lost_on_failure: Invariant.DRAINED,
    two_processes_at_work_on_a_tenant: Invariant.RECONCILED,
}


PULLING_PLANTS: dict[Plant, Invariant] = {
    repeated_cursor_followed: Invariant.ENDS,
    pull_only_campaigns_pushed: Invariant.PULLED,
    token_in_addresses: Invariant.PRIVATE,
}


def violation(simulator: Simulator, of: Invariant, draw: Callable[[int], World] = one_platform_world) -> str | None:
    """Return how the invariant is first violated in a few small worlds, or None if it holds in all of them."""
    for seed in SEEDS:
        for violation in simulator.run(draw(seed)).violations:
            if violation.invariant is of:
                return f"seed {seed}: {violation}"
    return None


@pytest.mark.parametrize(("plant", "invariant"), PLANTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_breaks_its_invariant(
    plant: Plant, invariant: Invariant, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert violation(simulator, invariant)


def test_a_gate_that_ignores_what_requests_cost_is_refused(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost_ignored(monkeypatch)
    assert violation(simulator, Invariant.QUOTA, costly_world)


@pytest.mark.parametrize("plant", PULLING_PLANTS, ids=lambda plant: plant.__name__)
def test_a_bug_planted_into_pulling_breaks_its_invariant(
    plant: Plant, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert violation(simulator, PULLING_PLANTS[plant], pulling_world)


def test_a_permit_that_is_held_while_signing_in_shows_in_the_runs_of_those_who_are_signed_in(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit_held_while_signing_in(monkeypatch)
    slowed = (with_and_without_the_sick(simulator, mute_world(seed)) for seed in SEEDS)
    assert any(runs.among != runs.alone for runs in slowed)
