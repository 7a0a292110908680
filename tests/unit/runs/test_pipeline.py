from datetime import timedelta
from typing import Any

import anyio
import pytest
from opentelemetry.trace import StatusCode

from adsyncd.errors import (
    BadAnswer,
    CredentialsMissing,
    PlatformError,
    Rejected,
    SignInRefused,
    Stopping,
    Unauthorized,
    Unavailable,
    Unconfirmed,
    WaitTooLong,
)
from adsyncd.model.campaign import idempotency_key
from adsyncd.model.run import Outcome, Tally, Wait, run_id
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.wait import WaitReason
from adsyncd.store import Store, tables
from support.pipelines import Source, counts, fire_time, ids, reconciles, run
from support.records import rows
from support.spans import Spans, attributes
from support.tenants import a_tenant

# A run that goes well


async def test_a_run_pushes_every_campaign_once_and_is_recorded_as_it_is_returned(store: Store) -> None:
    source = Source(ids(25))
    record = await run(source, store)
    assert counts(record) == (Outcome.SUCCEEDED, 25, 25, 0, 0, 0)
    assert (record.run_id, record.error) == (run_id("acme", fire_time(0)), None)
    assert source.asked == [1, 2, 3]
    assert source.effects == {(each, idempotency_key("acme", each, record.run_id)): 1 for each in ids(25)}
    assert await store.runs("acme", 9) == [record]
    assert all(row.synced_at for row in await rows(store, tables.campaigns))


async def test_pages_and_pushes_flow_at_the_same_time(store: Store) -> None:
    source = Source(ids(100), page_s=1, push_s=2)
    began = anyio.current_time()
    await run(source, store, tenant=a_tenant(concurrency=5))
    assert anyio.current_time() - began == pytest.approx(1 + 100 / 5 * 2)  # only the first page was waited for
    assert source.peak == 5


async def test_a_run_holds_no_more_campaigns_than_two_pages_and_what_is_on_its_way(store: Store) -> None:
    held = []
    tally = Tally()

    class Watched(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            held.append(tally.listed - tally.settled)
            return await super().push(campaign_id, key, again=again)

    await run(Watched(ids(500)), store, tally=tally, tenant=a_tenant(concurrency=3))
    assert max(held) <= 10 + 10 + 3


async def test_content_that_was_pushed_before_is_skipped_where_the_policy_says_so(store: Store) -> None:
    changed = a_tenant(push=PushPolicy.CHANGED)
    await run(Source(), store, 0, tenant=changed)
    again = Source()
    assert counts(await run(again, store, 1, tenant=changed)) == (Outcome.SUCCEEDED, 20, 0, 20, 0, 0)
    assert again.pushed == []


async def test_the_tally_is_counted_up_while_the_run_goes(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    tally = Tally()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run(Source(ids(10)), store, tally=tally, tenant=a_tenant(concurrency=5)))
        for _ in range(3):
            await anyio.sleep(1.5)
            seen.append((tally.listed, tally.settled))
    assert seen == [(10, 0), (10, 5), (10, 10)]


# Campaigns that can't be pushed


@pytest.mark.parametrize("error", [Unavailable("503"), BadAnswer("HTML"), Unconfirmed("no"), Unauthorized("401")])
async def test_a_campaign_that_fails_costs_itself_alone(store: Store, error: PlatformError) -> None:
    error.attempts = 5
    record = await run(Source(push_faults={"c007": error}), store)
    assert counts(record) == (Outcome.PARTIAL, 20, 19, 0, 0, 1)
    assert record.error == f"1 of 20 campaigns were not pushed, the first because {error}"
    assert await rows(store, tables.dead_letters) == []


async def test_a_permanent_rejection_is_a_dead_letter_that_later_runs_leave_alone(store: Store) -> None:
    rejected = Rejected("422: no", 422)
    rejected.attempts = 2
    record = await run(Source(push_faults={"c007": rejected}), store)
    assert counts(record) == (Outcome.PARTIAL, 20, 19, 0, 1, 0)
    [letter] = await rows(store, tables.dead_letters)
    told = (letter.campaign_id, letter.reason, letter.attempts, letter.trace_id)
    assert told == ("c007", "422: no", 2, record.trace_id)
    again = Source()
    assert counts(await run(again, store, 1)) == (Outcome.PARTIAL, 20, 19, 0, 1, 0)
    assert again.keys("c007") == set()


async def test_a_third_failing_run_in_a_row_makes_a_dead_letter(store: Store) -> None:
    sick = {"c007": Unavailable("503")}
    fates = [await run(Source(push_faults=faults), store, n) for n, faults in enumerate([sick, sick, {}, sick, sick])]
    assert [(record.failed, record.dead_lettered) for record in fates] == [(1, 0), (1, 0), (0, 0), (1, 0), (1, 0)]
    record = await run(Source(push_faults=sick), store, 5)
    assert (record.failed, record.dead_lettered) == (0, 1)
    [letter] = await rows(store, tables.dead_letters)
    assert (letter.campaign_id, letter.failures) == ("c007", 3)


# What concerns the whole run


@pytest.mark.parametrize(
    "error",
    [
        SignInRefused("the platform refused the tenant's email and password"),
        CredentialsMissing("there is no adsyncd/acme"),
        WaitTooLong("the quota frees no permit for 1900 s, and the run has to end before that"),
        Rejected("403", 403),
        Unavailable("503"),
    ],
)
async def test_an_error_of_the_listing_fails_the_run_with_its_text(store: Store, error: Exception) -> None:
    record = await run(Source(page_faults={2: error}), store)
    assert (record.outcome, record.error) == (Outcome.FAILED, str(error))
    assert reconciles(record)
    assert await store.runs("acme", 1) == [record]


@pytest.mark.parametrize("error", [SignInRefused("no"), CredentialsMissing("none"), WaitTooLong("too long")])
async def test_an_error_of_a_push_that_concerns_all_fails_the_run_with_its_text(store: Store, error: Exception) -> None:
    source = Source(ids(100), push_faults={"c012": error})
    record = await run(source, store)
    assert (record.outcome, record.error) == (Outcome.FAILED, str(error))
    assert reconciles(record)
    assert len(source.pushed) <= 15 + 4  # four ended at the same instant: those before it have begun another one


async def test_what_is_on_its_way_comes_back_and_is_recorded_when_a_run_has_to_end(store: Store) -> None:
    class Uneven(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if campaign_id == "c002":
                await anyio.sleep(1)
                raise SignInRefused("no")
            return await super().push(campaign_id, key, again=again)

    source = Uneven()
    record = await run(source, store)
    assert record.error == "no"
    assert record.pushed == source.effects.total() == 4


async def test_a_run_that_takes_too_long_is_abandoned(store: Store) -> None:
    record = await run(Source(ids(50), push_s=100), store, tenant=a_tenant(run_deadline=timedelta(minutes=5)))
    assert (record.outcome, record.error) == (Outcome.ABANDONED, "not done within run_deadline (5m)")
    assert (record.pushed, record.listed) == (10, 30)
    assert reconciles(record)
    assert record.ended_at == record.started_at + timedelta(minutes=5)


async def test_a_run_that_was_waiting_when_its_time_was_up_says_what_for(store: Store) -> None:
    tally = Tally()

    class Held(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if self.pushed:
                with tally.waiting(WaitReason.BREAKER) as tell:
                    tell(Wait(WaitReason.BREAKER, detail="ads.invalid: nothing but failures"))
                    await anyio.sleep(1000)
            return await super().push(campaign_id, key, again=again)

    record = await run(Held(), store, tally=tally, tenant=a_tenant(run_deadline=timedelta(minutes=5), concurrency=1))
    assert record.error == (
        "not done within run_deadline (5m): was waiting for the circuit breaker of ads.invalid: nothing but failures"
    )
    assert (record.outcome, record.pushed) == (Outcome.ABANDONED, 1)


async def test_the_first_cause_is_told_even_when_time_is_up_before_the_rest_came_back(store: Store) -> None:
    source = Source(push_s=1000, page_faults={2: Unavailable("503")})
    record = await run(source, store, tenant=a_tenant(run_deadline=timedelta(minutes=5)))
    assert (record.outcome, record.error) == (Outcome.FAILED, "503")
    assert reconciles(record)


@pytest.mark.parametrize("faults", [{"page_faults": {2: KeyError("canary")}}, {"push_faults": {"c012": KeyError()}}])
async def test_a_mistake_of_ours_ends_the_run_and_goes_no_further(
    store: Store, faults: dict[str, Any], logged: list[Any]
) -> None:
    record = await run(Source(**faults), store)
    assert (record.outcome, record.error) == (Outcome.FAILED, "internal error: see the log")
    assert reconciles(record)
    [entry] = [entry for entry in logged if entry["event"] == "run broke down"]
    assert entry["exc_info"]
    assert await store.runs("acme", 1) == [record]


# Traces


async def test_spans_say_what_failed_and_how(store: Store) -> None:
    spans = Spans()
    failing = Unavailable("the platform answered 503")
    failing.attempts = 5
    faults = {"c003": failing, "c004": Rejected("422", 422)}
    await run(Source(ids(10), push_faults=faults), store, tracer=spans.tracer)
    failed = [span for span in spans.all() if span.status.status_code is StatusCode.ERROR]
    told = ("error.type", "adsyncd.outcome", "adsyncd.attempt")
    assert {
        (span.name, span.status.description, *(attributes(span).get(name) for name in told)) for span in failed
    } == {
        ("campaign.push", "the platform answered 503", "Unavailable", "failed", 5),
        ("campaign.push", "422", "Rejected", "dead_lettered", 1),
        ("sync.run", "2 of 10 campaigns were not pushed, the first because 422", "partial", "partial", None),
    }


async def test_a_resumed_run_is_a_trace_with_a_link_to_the_one_before(store: Store) -> None:
    spans = Spans()
    left = await run(Source(page_faults={2: Stopping("stopping")}), store, tracer=spans.tracer)
    [before] = await store.open_runs("acme")
    assert (before.trace_id, before.span_id) == (left.trace_id, left.span_id)
    await run(Source(), store, tracer=spans.tracer, before=before)
    first, second = spans.named("sync.run")
    assert first.context
    assert [(link.context.trace_id, link.context.span_id) for link in second.links] == [
        (first.context.trace_id, first.context.span_id)
    ]
    assert first.links == ()
    assert attributes(second)["adsyncd.run.resumed_from"] == left.trace_id
    assert attributes(first)["adsyncd.run.listed"] == 10
    assert attributes(second)["adsyncd.run.pushed"] == 20


async def test_a_run_whose_earlier_life_had_no_trace_names_none(store: Store) -> None:
    await run(Source(page_faults={2: Stopping("stopping")}), store)
    [before] = await store.open_runs("acme")
    spans = Spans()
    await run(Source(), store, tracer=spans.tracer, before=before)
    [root] = spans.named("sync.run")
    assert (root.links, attributes(root).get("adsyncd.run.resumed_from")) == ((), None)


async def test_a_run_that_failed_is_an_error_in_its_trace_and_one_that_a_stop_left_open_is_none(store: Store) -> None:
    spans = Spans()
    await run(Source(page_faults={1: SignInRefused("no")}), store, 0, tracer=spans.tracer)
    await run(Source(page_faults={1: Stopping("stopping")}), store, 1, tracer=spans.tracer)
    roots = spans.named("sync.run")
    told = [(root.status.status_code, root.status.description) for root in roots]
    assert told == [(StatusCode.ERROR, "no"), (StatusCode.UNSET, None)]
    assert [attributes(root).get("adsyncd.outcome") for root in roots] == ["failed", "interrupted"]
    assert [attributes(root).get("error.type") for root in roots] == ["failed", None]
