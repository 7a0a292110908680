"""One log for us and our libraries: JSON lines, or readable ones on a terminal, each with the trace it belongs to.

Libraries are heard from WARNING upwards, whatever our own level is: below that httpx writes whole URLs, httpcore and
hpack headers with tokens in them, SQLAlchemy rows, and APScheduler a line for every tick.
"""

import logging
from typing import TextIO

import structlog
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from adsyncd.instruments import RUN_ID, TENANT

_SECRETS = frozenset({"authorization", "password", "token", "access_token", "secret", "secret_id"})
_MUTED = (
    "opentelemetry.exporter",  # `telemetry` says it, once instead of always
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",  # says that its first interval was over before all was set up
)
_ATTRIBUTES = {"tenant": TENANT, "run_id": RUN_ID, "exception": "exception.stacktrace"}
_NOT_ATTRIBUTES = frozenset(
    {"event", "level", "logger", "timestamp", "trace_id", "span_id", "_record", "_from_structlog"}
)


def configure(level: str, stream: TextIO, logger_provider: LoggerProvider | None = None) -> None:
    """Send everything that is logged to `stream`, and to `logger_provider` if there is one.

    `level` is the least that is logged of our own, by its name in `logging`. May be called again to change its mind.
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
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=described,
            processors=[
                format_exc_info,
                *([_Exporter(logger_provider)] if logger_provider else []),
                ProcessorFormatter.remove_processors_meta,
                ConsoleRenderer(exception_formatter=plain_traceback) if terminal else JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    logging.getLogger("adsyncd").setLevel(threshold)
    for name in _MUTED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what has a secret's name. A last resort: nobody may hand a secret to the log."""
    for key in event.keys() & _SECRETS:
        event[key] = "[hidden]"
    return event


class _Exporter:
    """Hands each event to OpenTelemetry on its way to the stream."""

    def __init__(self, provider: LoggerProvider) -> None:
        self._provider = provider

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event["_record"]
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                trace_id=int(event.get("trace_id", "0"), 16),  # an event after its run's span names the trace itself
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
