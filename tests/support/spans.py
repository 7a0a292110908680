"""What is traced, as it is at the end of a test."""

from collections.abc import Mapping

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util.types import AttributeValue


class Spans:
    """Records spans: hand `tracer` to what is tested."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name, in the order in which they ended."""
        return [span for span in self.all() if span.name == name]

    def all(self) -> tuple[ReadableSpan, ...]:
        """Return all spans, in the order in which they ended."""
        return self._exporter.get_finished_spans()


def attributes(span: ReadableSpan) -> Mapping[str, AttributeValue]:
    """Return a span's attributes."""
    return span.attributes or {}
