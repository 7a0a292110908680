"""One log for us and our libraries: JSON lines, or readable ones on a terminal, each with the trace it belongs to.

Where standard error is systemd's journal, entries go there by its native protocol instead, so that their priorities and
fields can be asked for: `journalctl -u adsyncd -p err ADSYNCD_TENANT=acme`.

Libraries are heard from WARNING upwards, whatever our own level is: below that httpx writes whole URLs, httpcore and
hpack headers with tokens in them, SQLAlchemy rows, and APScheduler a line for every tick.
"""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Mapping
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


_JOURNAL = "/run/systemd/journal/socket"
_AS_THEY_ARE = frozenset({"trace_id", "span_id"})  # fields of the journal that others write under the same names
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def configure(
    level: str, stream: TextIO, logger_provider: LoggerProvider | None = None, journal_stream: str | None = None
) -> None:
    """Send everything that is logged to `stream`, and to `logger_provider` if there is one.

    `level` is the least that is logged of our own, by its name in `logging`. `journal_stream`: systemd's
    `$JOURNAL_STREAM`, by which `stream` may turn out to be the journal. May be called again to change its mind.
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
    handler = Journal(stream, _JOURNAL) if _is_journal(stream, journal_stream) else logging.StreamHandler(stream)
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


class Journal(logging.StreamHandler[TextIO]):
    """Sends each JSON line to systemd's journal as an entry with fields; to the stream if the journal is not there.

    A key `tenant` becomes the field `ADSYNCD_TENANT`. See https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
    """

    def __init__(self, stream: TextIO, address: str) -> None:
        super().__init__(stream)
        self._address = address

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry."""
        try:
            event = json.loads(self.format(record))
            _send(self._address, b"".join(_field(name, value) for name, value in _entry(record, event).items()))
        except OSError:
            super().emit(record)
        except Exception:  # noqa: BLE001 - as every handler does: to log must not fail
            self.handleError(record)


def _is_journal(stream: TextIO, journal_stream: str | None) -> bool:
    if not journal_stream:
        return False
    about = os.fstat(stream.fileno())
    return journal_stream == f"{about.st_dev}:{about.st_ino}"


def _entry(record: logging.LogRecord, event: Mapping[str, object]) -> Mapping[str, str]:
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in event.items()}
    exception = fields.pop("exception", None)
    named = {name: value for name, value in fields.items() if name not in _NOT_ATTRIBUTES}
    message = " ".join([fields["event"], *(f"{name}={value}" for name, value in named.items())])
    return {
        "MESSAGE": f"{message}\n{exception}" if exception else message,
        "PRIORITY": str(_priority(record.levelno)),
        "SYSLOG_IDENTIFIER": "adsyncd",
        "ADSYNCD_EVENT": fields["event"],
        "ADSYNCD_LOGGER": record.name,
        **{f"ADSYNCD_{name.upper()}": value for name, value in named.items()},
        **{name.upper(): fields[name] for name in _AS_THEY_ARE & fields.keys()},
    }


def _priority(level: int) -> int:
    """Return syslog's: 2 critical, 3 error, 4 warning, 6 informational, 7 debug."""
    return {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}.get(level, 7)


def _field(name: str, value: str) -> bytes:
    """Write a field with its length, so that no line break in it can begin another."""
    data = value.encode(errors="replace")
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def _send(address: str, entry: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        try:
            channel.send(entry)
        except OSError as error:
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            with os.fdopen(os.memfd_create("adsyncd", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "wb") as file:
                file.write(entry)
                file.flush()
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)  # or the journal would not read it
                socket.send_fds(channel, [b""], [file.fileno()])


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
