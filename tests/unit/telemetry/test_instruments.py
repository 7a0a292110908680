from contextlib import suppress

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from adsyncd.errors import AdsyncdError, Stopping, Unavailable
from adsyncd.telemetry.instruments import (
    CAMPAIGN_ID,
    DEAD_LETTERS,
    ERROR_TYPE,
    METRICS,
    OUTCOME,
    PUSHED,
    QUOTA_PERMITS,
    RUN_DURATION,
    TENANT,
    Instruments,
    span,
)
from support.metrics import Metrics
from support.spans import Spans


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def instruments(metrics: Metrics) -> Instruments:
    return metrics.instruments


async def test_a_trace_that_is_not_sampled_has_an_id_and_costs_one_span() -> None:
    tracer = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with span(tracer, "sync.run") as root, span(tracer, "campaign.push") as below:
        assert below is root
        assert root.get_span_context().trace_id


async def test_nothing_is_computed_for_a_span_that_does_not_record() -> None:
    class Unreadable(AdsyncdError):
        def __str__(self) -> str:
            raise AssertionError("asked for its text")

    tracer = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with pytest.raises(Unreadable), span(tracer, "sync.run"), span(tracer, "campaign.push"):
        raise Unreadable


def test_a_span_that_goes_well_has_its_attributes_and_no_status(spans: Spans) -> None:
    with span(spans.tracer, "campaign.push", {TENANT: "acme"}, SpanKind.CLIENT):
        pass
    (recorded,) = spans.all()
    assert recorded.attributes == {TENANT: "acme"}
    assert recorded.status.status_code is StatusCode.UNSET
    assert recorded.kind is SpanKind.CLIENT


def test_a_foreign_exception_marks_the_span_but_leaves_no_text_behind(spans: Spans) -> None:
    with pytest.raises(ValueError, match="canary"), span(spans.tracer, "campaign.push"):
        raise ValueError("canary")
    (recorded,) = spans.all()
    assert recorded.status.status_code is StatusCode.ERROR
    assert recorded.attributes == {ERROR_TYPE: "ValueError"}
    assert "canary" not in recorded.to_json()


def test_an_error_of_ours_says_what_happened(spans: Spans) -> None:
    with pytest.raises(Unavailable), span(spans.tracer, "campaign.push"):
        raise Unavailable("no answer within 10 s")
    (recorded,) = spans.all()
    assert recorded.status.description == "no answer within 10 s"
    assert recorded.attributes == {ERROR_TYPE: "Unavailable"}


@pytest.mark.parametrize("error", [Stopping("stopping"), None])
async def test_a_span_that_a_stop_or_a_cancellation_interrupts_is_no_error(
    spans: Spans, error: Stopping | None
) -> None:
    with suppress(Stopping), anyio.CancelScope() as scope, span(spans.tracer, "campaign.push"):
        if error is not None:
            raise error
        scope.cancel()
        await anyio.sleep(1)
    (recorded,) = spans.all()
    assert recorded.status.status_code is StatusCode.UNSET
    assert recorded.attributes == {OUTCOME: "interrupted"}


async def test_a_span_whose_time_is_up_is_an_error(spans: Spans) -> None:
    with anyio.move_on_after(0.01), span(spans.tracer, "campaign.push"):
        await anyio.sleep_forever()
    (recorded,) = spans.all()
    assert recorded.status.status_code is StatusCode.ERROR
    assert recorded.attributes == {ERROR_TYPE: "timeout"}


def test_a_span_has_the_tenant_of_the_span_above_it(spans: Spans) -> None:
    with (
        span(spans.tracer, "sync.run", {TENANT: "acme"}),
        span(spans.tracer, "campaign.push", {CAMPAIGN_ID: "c-1"}),
        span(spans.tracer, "quota.wait"),
    ):
        pass
    with span(spans.tracer, "sync.run", {TENANT: "globex"}), span(spans.tracer, "campaigns.list"):
        pass
    wait, push, _, listing, _ = spans.all()
    assert (wait.attributes, push.attributes) == ({TENANT: "acme"}, {TENANT: "acme", CAMPAIGN_ID: "c-1"})
    assert listing.attributes == {TENANT: "globex"}


def test_counters_add_up_for_each_tenant(instruments: Instruments, metrics: Metrics) -> None:
    instruments.add(PUSHED, 2, tenant="acme")
    instruments.add(PUSHED, 3, tenant="acme")
    instruments.add(PUSHED, 1, tenant="globex")
    points = metrics.points(PUSHED.name)
    assert {point["attributes"][TENANT]: point["value"] for point in points} == {"acme": 5, "globex": 1}


def test_durations_are_counted_by_outcome(instruments: Instruments, metrics: Metrics) -> None:
    instruments.record(RUN_DURATION, 1.5, outcome="succeeded")
    (point,) = metrics.points(RUN_DURATION.name)
    assert (point["attributes"], point["sum"]) == ({"adsyncd.outcome": "succeeded"}, 1.5)


def test_a_gauge_keeps_what_it_was_last_set_to(instruments: Instruments, metrics: Metrics) -> None:
    instruments.set(DEAD_LETTERS, 3, tenant="acme")
    instruments.set(DEAD_LETTERS, 2, tenant="acme")
    (point,) = metrics.points(DEAD_LETTERS.name)
    assert point["value"] == 2


def test_an_observed_gauge_is_read_at_export_and_forgets_who_is_gone(
    instruments: Instruments, metrics: Metrics
) -> None:
    permits = {"acme": 10.0, "globex": 4.0}
    instruments.observe(lambda: [(QUOTA_PERMITS.name, value, {TENANT: of}) for of, value in permits.items()])
    assert len(metrics.points(QUOTA_PERMITS.name)) == 2
    del permits["globex"]
    (point,) = metrics.points(QUOTA_PERMITS.name)
    assert (point["attributes"], point["value"]) == ({TENANT: "acme"}, 10)


def test_metric_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
