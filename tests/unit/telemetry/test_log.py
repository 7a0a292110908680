import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from structlog.contextvars import bound_contextvars

from adsyncd.telemetry.instruments import Instruments
from adsyncd.telemetry.log import configure
from support.logging_state import flush, restored_logging

CANARY = "canary-4711"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def text(stream: io.StringIO) -> str:
    flush()
    return stream.getvalue()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(stream).splitlines()]


def test_a_line_has_time_level_event_logger_and_what_was_bound(stream: io.StringIO) -> None:
    configure("info", stream)
    with bound_contextvars(tenant="acme", run_id="acme-1"):
        structlog.get_logger("adsyncd.pipeline").info("run ended", pushed=3, database=Path("adsyncd.db"))
    (line,) = lines(stream)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)  # noqa: TID251 - the wall clock is what is tested
    assert line == {
        "event": "run ended",
        "level": "info",
        "logger": "adsyncd.pipeline",
        "tenant": "acme",
        "run_id": "acme-1",
        "pushed": 3,
        "database": "adsyncd.db",
    }


def test_a_line_within_a_span_has_the_ids_of_its_trace(stream: io.StringIO) -> None:
    configure("info", stream)
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("sync.run") as span:
        structlog.get_logger("adsyncd").info("run began")
    context = span.get_span_context()
    (line,) = lines(stream)
    assert (line["trace_id"], line["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")


def test_what_is_below_the_level_is_not_logged(stream: io.StringIO) -> None:
    configure("warning", stream)
    structlog.get_logger("adsyncd").info("run began")
    logging.getLogger("adsyncd").info("run began")
    assert text(stream) == ""


def test_a_second_call_changes_level_and_stream(stream: io.StringIO) -> None:
    first = io.StringIO()
    configure("error", first)
    configure("debug", stream)
    structlog.get_logger("adsyncd").debug("run began")
    assert text(first) == ""
    assert len(lines(stream)) == 1


def test_libraries_are_heard_from_warning_upwards_in_the_same_shape(stream: io.StringIO) -> None:
    configure("debug", stream)
    with bound_contextvars(tenant="acme"):
        logging.getLogger("apscheduler.executors.default").info("Running job")
        logging.getLogger("apscheduler.executors.default").warning("Run time of job %s was missed", "acme")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("Run time of job acme was missed", "warning")
    assert (line["logger"], line["tenant"]) == ("apscheduler.executors.default", "acme")


@pytest.mark.parametrize(
    "library", ["httpx", "httpcore.http11", "httpcore.connection", "hpack.hpack", "sqlalchemy.engine.Engine", "hvac"]
)
def test_even_at_debug_no_library_that_sees_tokens_or_rows_is_asked_for_them(stream: io.StringIO, library: str) -> None:
    configure("debug", stream)
    assert not logging.getLogger(library).isEnabledFor(logging.INFO)


async def test_a_real_request_at_debug_leaves_no_header_and_no_url_in_the_log(stream: io.StringIO) -> None:
    configure("debug", stream)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(f"http://ads.test/?q={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
    assert text(stream) == ""


def test_the_exporters_own_complaints_are_left_to_telemetry(stream: io.StringIO) -> None:
    configure("debug", stream)
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").error("Failed to export")
    logging.getLogger("opentelemetry.sdk._shared_internal").warning("Queue full")
    assert text(stream) == ""


def test_exceptions_are_rendered_without_local_variables(stream: io.StringIO) -> None:
    terminal = Terminal()
    for target in (stream, terminal):
        configure("info", target)
        try:
            fail(CANARY)
        except ZeroDivisionError:
            structlog.get_logger("adsyncd").exception("run failed")
        assert "ZeroDivisionError" in text(target)
        assert CANARY not in text(target)


def fail(_password: str) -> None:
    1 / 0  # noqa: B018 - raises


def test_a_secret_by_name_is_hidden(stream: io.StringIO) -> None:
    configure("info", stream)
    structlog.get_logger("adsyncd").info("signing in", password=CANARY, token=CANARY, authorization=CANARY, user="a")
    (line,) = lines(stream)
    assert CANARY not in text(stream)
    assert (line["password"], line["user"]) == ("[hidden]", "a")


def test_a_terminal_gets_readable_lines_in_colour() -> None:
    terminal = Terminal()
    configure("info", terminal)
    structlog.get_logger("adsyncd").info("run ended", pushed=3)
    assert "run ended" in text(terminal)
    assert "\x1b[" in text(terminal)
    assert "{" not in text(terminal)


def test_a_terminal_does_not_obey_what_others_wrote() -> None:
    terminal = Terminal()
    configure("info", terminal)
    evil = "\x1b]52;c;eAo\x07\x9b31m\u202e\nfake"
    structlog.get_logger("adsyncd").info("run ended", campaign=evil, error=ValueError(evil), words=[evil])
    logging.getLogger("library").warning("%s", evil)
    try:
        int(evil)
    except ValueError:
        structlog.get_logger("adsyncd").exception("run broke down")
    said = text(terminal)
    assert not {"\x07", "\x9b", "\u202e"} & set(said)
    assert "\x1b]" not in said
    assert said.count(r"\x1b]52;c;eAo\x07\x9b31m\u202e\nfake") == 5


def test_a_message_cannot_forge_another_line(stream: io.StringIO) -> None:
    configure("info", stream)
    structlog.get_logger("adsyncd").info("page is malformed", reason='x\n{"event": "all is well"}')
    assert [line["event"] for line in lines(stream)] == ["page is malformed"]


def test_events_go_to_opentelemetry_as_well(stream: io.StringIO) -> None:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's, not annotated
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    configure("info", stream).export(provider, Instruments(NoOpMeterProvider().get_meter("test")))
    with (
        TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("sync.run") as span,
        bound_contextvars(tenant="acme", run_id="acme-1"),
    ):
        structlog.get_logger("adsyncd.pipeline").warning("run failed", database=Path("adsyncd.db"), password=CANARY)
    (exported,) = exporter.get_finished_logs()
    record = exported.log_record
    assert (record.body, record.severity_text) == ("run failed", "WARNING")
    assert record.severity_number
    assert record.severity_number.name == "WARN"
    assert record.span_id == span.get_span_context().span_id
    assert record.attributes == {
        "adsyncd.tenant": "acme",
        "adsyncd.run_id": "acme-1",
        "database": "adsyncd.db",
        "password": "[hidden]",
    }
    assert len(lines(stream)) == 1
