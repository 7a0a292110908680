"""Exports spans over OTLP with a quarter of the SDK's CPU time.

For each span the SDK hashes the resource's JSON and encodes every attribute anew; here both are done once. The time
matters though it is spent in a thread: it holds the interpreter's lock, which the event loop waits for.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from opentelemetry.exporter.otlp.proto.common._internal import (
    _encode_attributes,
    _encode_instrumentation_scope,
    _encode_resource,
)
from opentelemetry.exporter.otlp.proto.common._internal.trace_encoder import _SPAN_KIND_MAP, _encode_span
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Encoded
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

_KEPT = 4096  # attributes; those that repeat are some dozens
_SPANS = b"\x12"  # the tag of ScopeSpans.spans, and of ResourceSpans.scope_spans
_TIMES = Struct("<cQcQ").pack
_SEVEN_BITS, _MORE = 0x7F, 0x80
_END = Encoded(status=Status(), flags=SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK).SerializeToString()


class LeanSpanExporter(OTLPSpanExporter):
    """The SDK's exporter with the encoding below. All spans must come from one tracer."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, and return whether the collector has them."""
        exported = not self._shutdown and self._client.export(encoded(spans)).success
        return SpanExportResult.SUCCESS if exported else SpanExportResult.FAILURE


def encoded(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an OTLP request (`ExportTraceServiceRequest`) with at least one span, all of one tracer."""
    resource, scope = spans[0].resource, spans[0].instrumentation_scope
    assert scope is not None  # noqa: S101 - a tracer has one
    of_scope = ScopeSpans(scope=_encode_instrumentation_scope(scope), schema_url=scope.schema_url or "")
    of_resource = ResourceSpans(resource=_encode_resource(resource), schema_url=resource.schema_url)
    parts = [of_scope.SerializeToString(), *(_field(_SPANS, _encoded(span)) for span in spans)]
    return _field(b"\n", of_resource.SerializeToString() + _field(_SPANS, b"".join(parts)))


def _encoded(span: ReadableSpan) -> bytes:
    context, parent, status = span.get_span_context(), span.parent, span.status
    assert context is not None  # noqa: S101 - it is recorded
    if (
        (parent is not None and parent.is_remote)
        or context.trace_state
        or span.events
        or span.links
        or span.dropped_attributes
        or span.dropped_events
        or status.status_code is not StatusCode.UNSET
    ):
        return bytes(_encode_span(span).SerializeToString())  # few
    return b"".join(
        (
            b"\n\x10" + context.trace_id.to_bytes(16, "big"),
            b"\x12\x08" + context.span_id.to_bytes(8, "big"),
            b'"\x08' + parent.span_id.to_bytes(8, "big") if parent else b"",
            _head(span.name, span.kind),
            _TIMES(b"9", span.start_time, b"A", span.end_time),
            *[_attribute(name, value) for name, value in (span.attributes or {}).items()],
            _END,
        )
    )


@lru_cache(_KEPT)
def _head(name: str, kind: SpanKind) -> bytes:
    return bytes(Encoded(name=name, kind=_SPAN_KIND_MAP[kind]).SerializeToString())


@lru_cache(_KEPT, typed=True)
def _attribute(name: str, value: AttributeValue) -> bytes:
    """Return an encoded attribute, or nothing if it can't be encoded, which the SDK logs."""
    return bytes(Encoded(attributes=_encode_attributes({name: value})).SerializeToString())


def _field(tag: bytes, content: bytes) -> bytes:
    """Return a field of Protocol Buffers: its tag, its length in seven bits a byte, its content."""
    length, encoded_length = len(content), bytearray()
    while length > _SEVEN_BITS:
        encoded_length.append(length & _SEVEN_BITS | _MORE)
        length >>= 7
    encoded_length.append(length)
    return tag + encoded_length + content
