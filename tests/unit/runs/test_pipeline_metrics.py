"""What a run adds to the metrics, so that the rules of docs/telemetry.md see what it did not push."""

from datetime import timedelta

from adsyncd.errors import Rejected, Unavailable
from adsyncd.model.run import Outcome, Tally
from adsyncd.rate.wait import WaitReason
from adsyncd.store import Store
from adsyncd.telemetry.instruments import DEAD_LETTERS, FAILED, LAST_SUCCESS, LISTED, PUSHED, RUNS, WAITS, Metric
from support.metrics import Metrics
from support.pipelines import Source, run
from support.tenants import a_tenant


def of_acme(metrics: Metrics, metric: Metric, **attributes: str) -> float | None:
    return metrics.by_tenant(metric, **attributes).get("acme")


async def test_campaigns_that_a_run_leaves_out_as_dead_letters_are_counted_as_failed(store: Store) -> None:
    metrics = Metrics()
    rejecting = Source(push_faults={"c007": Rejected("422: no", 422), "c008": Rejected("422: no", 422)})
    for number in range(3):
        await run(rejecting, store, number, instruments=metrics.instruments)
    listed, pushed, failed = (of_acme(metrics, metric) for metric in (LISTED, PUSHED, FAILED))
    assert (listed, pushed, failed) == (60, 54, 6)
    assert of_acme(metrics, DEAD_LETTERS) == 2


async def test_campaigns_that_a_run_did_not_come_to_are_counted_as_failed(store: Store) -> None:
    metrics, hurried = Metrics(), a_tenant(run_deadline=timedelta(seconds=5))
    faults = {"c000": Unavailable("503")}
    record = await run(Source(push_faults=faults), store, tenant=hurried, instruments=metrics.instruments)
    assert (record.outcome, record.failed) == (Outcome.ABANDONED, 11)
    listed, pushed, failed = (of_acme(metrics, metric) for metric in (LISTED, PUSHED, FAILED))
    assert (listed, pushed, failed) == (20, 9, 11)
    assert of_acme(metrics, RUNS, outcome="abandoned") == 1


async def test_the_waits_of_a_run_are_counted_by_reason_when_it_ends(store: Store) -> None:
    metrics = Metrics()
    for number in range(2):
        tally = Tally(waits={WaitReason.QUOTA: 30.5, WaitReason.RETRY_AFTER: 4.0})
        await run(Source(), store, number, tally=tally, instruments=metrics.instruments)
    assert of_acme(metrics, WAITS, reason="quota") == 61
    assert of_acme(metrics, WAITS, reason="Retry-After") == 8


async def test_the_last_success_is_that_of_the_last_run_that_met_the_success_rate(store: Store) -> None:
    metrics = Metrics()
    rejecting = Source(push_faults={"c007": Rejected("422: no", 422)})
    well = await run(rejecting, store, 0, instruments=metrics.instruments)
    assert (well.outcome, well.ended_at is not None) == (Outcome.PARTIAL, True)
    broken = Source(page_faults={1: Unavailable("503")})
    failed = await run(broken, store, 1, instruments=metrics.instruments)
    assert failed.outcome is Outcome.FAILED
    assert well.ended_at is not None
    assert of_acme(metrics, LAST_SUCCESS) == well.ended_at.timestamp()
