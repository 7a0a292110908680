"""The log: JSON lines, or readable lines on a terminal, each with its trace id.

Messages of libraries, warnings and uncaught errors go the same way.

Libraries log from WARNING upwards, whatever adsyncd's own level is: below that httpx writes whole URLs, httpcore and
hpack write headers with tokens, SQLAlchemy rows, and APScheduler a line for every tick.
"""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

import structlog
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from adsyncd.escaping import escaped, escaped_lines
from adsyncd.telemetry.instruments import LOG_LINES_DROPPED, RUN_ID, TENANT, Instruments
from adsyncd.telemetry.journald import META, to_journal
from adsyncd.telemetry.line_queue import LineQueue, to_stream

_log = structlog.stdlib.get_logger(__name__)

_SECRETS = frozenset({"authorization", "password", "token", "access_token", "secret", "secret_id"})
_MUTED = (
    "opentelemetry.util.re",  # shows headers
    "opentelemetry.exporter",  # `losses` logs it, once instead of always
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",  # warns if its first interval ends before the setup does
)
_ATTRIBUTES = {"tenant": TENANT, "run_id": RUN_ID, "exception": "exception.stacktrace"}
_NOT_ATTRIBUTES = META | {"_record", "_from_structlog"}


_OURS = "adsyncd"  # the logger above all of the program


class Log(LineQueue):
    """Writes everything that is logged to a stream, and after `export` to OpenTelemetry, too."""

    def __init__(self, stream: TextIO, described: Sequence[Processor], journal_stream: str | None) -> None:
        self._described = described
        self._render: Sequence[Processor] = (
            (_escape, ConsoleRenderer(exception_formatter=plain_traceback))
            if stream.isatty()
            else (JSONRenderer(default=str),)
        )
        write = to_stream(stream)
        super().__init__(to_journal(write) if _is_journal(stream, journal_stream) else write)
        self._render_by()

    def export(self, provider: LoggerProvider | None, instruments: Instruments) -> None:
        """Pass each event to `provider`, if there is one, and count dropped lines in a metric."""
        instruments.add(LOG_LINES_DROPPED, 0)
        self.dropped = lambda: instruments.add(LOG_LINES_DROPPED, 1)
        self._render_by(*([_Exporter(provider)] if provider else []))

    def _render_by(self, *exporters: Processor) -> None:
        last: list[Processor] = [format_exc_info, *exporters, ProcessorFormatter.remove_processors_meta, *self._render]
        self.setFormatter(ProcessorFormatter(foreign_pre_chain=self._described, processors=last))


def configure(level: str, stream: TextIO, journal_stream: str | None = None) -> Log:
    """Send everything that is logged to `stream`. Calling it again replaces the configuration.

    `level`: the lowest level of adsyncd's own messages, by its name in `logging`. `journal_stream`: systemd's
    `$JOURNAL_STREAM`, which shows whether `stream` is the journal. At the process' end, queued lines are written for
    two seconds at most.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    described: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        TimeStamper(fmt="iso", utc=True),
        _add_trace,
        _hide_secrets,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *described, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    log = Log(stream, described, journal_stream)
    logging.basicConfig(handlers=[log], level=max(threshold, logging.WARNING), force=True)
    logging.getLogger(_OURS).setLevel(threshold)
    for name in _MUTED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash
    sys.unraisablehook = _log_unraisable
    return log


def level() -> str:
    """Return the lowest level of adsyncd's own messages that is logged."""
    return logging.getLevelName(logging.getLogger(_OURS).getEffectiveLevel()).lower()


def set_level(name: str) -> None:
    """Log adsyncd's own messages from this level on, until the process ends."""
    logging.getLogger(_OURS).setLevel(logging.getLevelNamesMapping()[name.upper()])


def _is_journal(stream: TextIO, journal_stream: str | None) -> bool:
    if not journal_stream:
        return False
    about = os.fstat(stream.fileno())
    return journal_stream == f"{about.st_dev}:{about.st_ino}"


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _log.critical("uncaught exception", exc_info=error)


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    _log.error("uncaught exception in a thread", thread=crash.thread and crash.thread.name, exc_info=crash.exc_value)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    _log.error("exception ignored", exc_info=unraisable.exc_value)


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide values whose key names a secret. A last resort: no caller may log a secret."""
    for key in event.keys() & _SECRETS:
        event[key] = "[hidden]"
    return event


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control sequences in text from other parties, which a terminal would execute."""
    ways = dict.fromkeys(("exception", "stack"), escaped_lines)
    return {key: ways.get(key, escaped)(value) if isinstance(value, str) else value for key, value in event.items()}


class _Exporter:
    """Passes each event to OpenTelemetry as well as to the stream."""

    def __init__(self, provider: LoggerProvider) -> None:
        self._provider = provider

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event["_record"]
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                trace_id=int(
                    event.get("trace_id", "0"), 16
                ),  # an event after the end of its run's span carries its own trace id
                severity_text=record.levelname,
                severity_number=SeverityNumber(record.levelno // 10 * 4 + 1),  # DEBUG 10 is 5, CRITICAL 50 is 21
                body=event["event"],
                attributes={
                    _ATTRIBUTES.get(key, key): value if isinstance(value, str | bool | int | float) else str(value)
                    for key, value in event.items()
                    if key not in _NOT_ATTRIBUTES
                },
            )
        )
        return event
