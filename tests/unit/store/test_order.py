"""What one transaction does for many writes is what as many transactions do, one after the other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import anyio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NoOpTracer

from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.campaign import DeadLetter, Push, PushState, idempotency_key
from adsyncd.model.lease import Lease
from adsyncd.model.run import Listing, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Shape
from adsyncd.simulation.memory import memory_engine
from adsyncd.store import alerts, beginning, dead_letters, ending, health, journal, leases, pauses, permits, tables
from adsyncd.store.store import store_in
from adsyncd.store.writer import Operation, Ticket
from support.examples import examples
from support.records import NOON, HandClock, campaign, page, run

Result = TypeVar("Result")
Write = tuple[Operation[Any, Any], Any]

ENGINE = memory_engine()

TENANTS = st.sampled_from(["acme", "globex"])
OWNERS = st.sampled_from(["me", "other"])
IDS = st.sampled_from(["c1", "c2"])
FEW = st.integers(0, 2)
RUNS = st.builds(run, TENANTS, FEW)
LETTERS = st.builds(
    lambda of, campaign_id: DeadLetter(
        *(of.tenant, campaign_id, of.run_id, idempotency_key(of.tenant, campaign_id, of.run_id), "", "422", 1, 1),
        *(NOON, NOON, None, of.trace_id, ""),
    ),
    RUNS,
    IDS,
)
LEASES = st.builds(Lease, TENANTS, OWNERS, FEW, FEW)
RECORDS = st.builds(PermitRecord, st.just("mixo"), st.just("acme"), st.just(1), FEW, FEW, st.just("boot"), OWNERS)
CLAIMS = st.lists(st.builds(Claim, RECORDS, FEW, st.none() | RECORDS), min_size=1, max_size=2)


def ended(of: Run, listing: Listing | None) -> Run:
    return replace(of, ended_at=NOON, listing=listing)


WRITES: dict[Operation[Any, Any], st.SearchStrategy[Any]] = {
    beginning.begin: RUNS,
    journal.keep: st.builds(
        journal.Keep,
        RUNS,
        st.builds(lambda one, two: page(campaign("c1", one), campaign("c2", two)), *[st.sampled_from("ab")] * 2),
        st.sampled_from(PushPolicy),
        st.just(NOON),
    ),
    journal.settle: st.builds(
        journal.Settle,
        RUNS,
        st.builds(Push, IDS, st.sampled_from([PushState.PUSHED, PushState.FAILED, PushState.DEAD_LETTERED]), FEW),
        st.just(NOON),
    ),
    ending.finish: st.builds(ending.Finish, st.builds(ended, RUNS, st.sampled_from([None, *Listing])), st.just(NOON)),
    dead_letters.replay: st.builds(
        dead_letters.ReplayWrite, LETTERS, FEW, st.sampled_from([None, "500"]), st.just(""), st.just(NOON)
    ),
    dead_letters.discard: st.lists(LETTERS, min_size=1, max_size=2),
    alerts.keep: st.builds(
        Alert,
        TENANTS,
        st.just(AlertName.NO_SUCCESS),
        st.just(NOON),
        st.text("ab", max_size=1),
        st.sampled_from([None, NOON]),
        st.booleans(),
    ),
    pauses.pause: st.tuples(TENANTS, FEW.map(lambda hours: NOON + timedelta(hours=hours))),
    pauses.resume: TENANTS,
    permits.forget: st.lists(RECORDS, min_size=1, max_size=2),
    permits.note: CLAIMS,
    permits.claim: CLAIMS,
    permits.keep_shape: st.builds(
        ShapeRecord,
        st.just("mixo"),
        TENANTS,
        st.just("10/60s"),
        st.sampled_from(list(Shape)),
        st.booleans(),
        st.just(NOON),
    ),
    leases.take: st.builds(leases.Take, TENANTS, OWNERS, st.none() | LEASES),
    leases.beat: st.lists(LEASES, min_size=1, max_size=2),
    leases.give: LEASES,
    health.touch: st.booleans(),
}


def by_us(write: Write) -> bool:
    """Whether this process could ask for it: it signs with its own name."""
    operation, item = write
    return operation not in {permits.note, permits.claim} or all(one.record.owner == "me" for one in item)


def known_once(batch: list[Write]) -> bool:
    """Whether a campaign's outcome, and a permit's use, are in it once: the next one waits until the last is kept."""
    pushes = [(item.run.tenant, item.push.campaign_id) for operation, item in batch if operation is journal.settle]
    claims = [one for operation, item in batch if operation in {permits.note, permits.claim} for one in item]
    numbers = [one.record.number for one in claims]
    return len(set(pushes)) == len(pushes) and len(set(numbers)) == len(numbers)


WRITE = st.one_of(*[st.tuples(st.just(operation), items) for operation, items in WRITES.items()])


@examples(100)
@given(before=st.lists(WRITE, max_size=8), batch=st.lists(WRITE.filter(by_us), max_size=8).filter(known_once))
def test_a_batch_leaves_what_its_writes_leave_one_by_one(before: list[Write], batch: list[Write]) -> None:
    one_by_one = [[write] for write in before]
    together = anyio.run(left_by, [*one_by_one, batch])
    assert together == anyio.run(left_by, [*one_by_one, *([write] for write in batch)])


async def left_by(batches: list[list[Write]]) -> tuple[object, ...]:
    """Return what is in the database after transactions, and what their writes came to."""

    async def at_once(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG001 - one at a time it is anyway
        return call()

    said = []
    async with store_in(ENGINE, clock=HandClock(), tracer=NoOpTracer(), off_loop=at_once) as store:
        for batch in batches:
            tickets: list[Ticket[object]] = [Ticket(operation, item) for operation, item in batch]
            await store._writer._commit(tickets)
            said += [type(ticket.error) if ticket.error else ticket.result for ticket in tickets]
        with ENGINE.connect() as connection:
            left = {
                table.name: sorted(map(str, connection.execute(table.select())))
                for table in tables.metadata.sorted_tables
            }
    ENGINE.dispose()  # the next one begins with an empty database
    return left, said
