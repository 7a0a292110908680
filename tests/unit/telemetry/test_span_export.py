from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from adsyncd.errors import Unavailable
from adsyncd.telemetry.instruments import mark_failed, span
from adsyncd.telemetry.span_export import encoded
from support.spans import Spans

VALUES = (
    st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False) | st.tuples(st.text())
)
ATTRIBUTES: st.SearchStrategy[dict[str, AttributeValue]] = st.dictionaries(st.text(min_size=1), VALUES)


def decoded(spans: Spans) -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """What we encode, and what the SDK encodes."""
    return ExportTraceServiceRequest.FromString(encoded(spans.all())), encode_spans(spans.all())


@given(name=st.text(), attributes=ATTRIBUTES, kind=st.sampled_from(SpanKind), event=ATTRIBUTES, fails=st.booleans())
def test_a_batch_is_encoded_as_the_sdk_does(
    name: str, attributes: dict[str, AttributeValue], kind: SpanKind, event: dict[str, AttributeValue], fails: bool
) -> None:
    spans = Spans()
    with span(spans.tracer, name), span(spans.tracer, name, attributes, kind) as current:
        if event:
            current.add_event("alert.fires", event)
        if fails:
            mark_failed(current, Unavailable(name))
    ours, theirs = decoded(spans)
    assert ours == theirs


def test_attributes_that_are_equal_but_of_another_type_stay_apart() -> None:
    spans = Spans()
    values: tuple[AttributeValue, ...] = (1, True, 1.0)
    for value in values:
        with span(spans.tracer, "GET", {"adsyncd.page": value}):
            pass
    ours, theirs = decoded(spans)
    assert ours == theirs


def test_a_span_with_links_a_trace_state_and_a_remote_parent_is_encoded_as_the_sdk_does() -> None:
    spans = Spans()
    context = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))
    parent = set_span_in_context(NonRecordingSpan(context))
    spans.tracer.start_span("sync.run", parent, links=[Link(context)]).end()
    ours, theirs = decoded(spans)
    assert ours == theirs


def test_an_attribute_that_is_not_unicode_costs_only_itself() -> None:
    spans = Spans()
    with span(spans.tracer, "campaign.push", {"adsyncd.campaign_id": "\ud800", "adsyncd.attempt": 1}):
        pass
    ours, theirs = decoded(spans)
    assert ours == theirs
    assert len(ours.resource_spans[0].scope_spans[0].spans[0].attributes) == 1
