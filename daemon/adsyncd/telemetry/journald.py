"""Writes log lines to systemd's journal by its native protocol, so that priorities and fields can be queried.

`journalctl -u adsyncd -p err ADSYNCD_TENANT=acme`. See https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Mapping

from adsyncd.escaping import escaped, escaped_lines
from adsyncd.telemetry.line_queue import LogLine, Write

META = frozenset({"event", "level", "logger", "timestamp", "trace_id", "span_id"})  # keys that any line may have

_JOURNAL = "/run/systemd/journal/socket"
_AS_THEY_ARE = frozenset({"trace_id", "span_id"})  # the journal's own names, which other programs use too
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def to_journal(otherwise: Write) -> Write:
    """Return a function that sends each JSON line to the journal, or to `otherwise` if there is no journal.

    A key `tenant` becomes the field `ADSYNCD_TENANT`.
    """

    def write(line: LogLine) -> None:
        try:
            _send(_JOURNAL, b"".join(_field(name, value) for name, value in _entry(line).items()))
        except OSError:
            otherwise(line)

    return write


def _entry(line: LogLine) -> Mapping[str, str]:
    event = json.loads(line.text)
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in event.items()}
    exception = fields.pop("exception", None)
    named = {name: value for name, value in fields.items() if name not in META}
    message = escaped(" ".join([fields["event"], *(f"{name}={value}" for name, value in named.items())]))
    return {
        "MESSAGE": f"{message}\n{escaped_lines(exception)}" if exception else message,  # `journalctl -a` prints all
        "PRIORITY": str(_priority(line.level)),
        "SYSLOG_IDENTIFIER": "adsyncd",
        "ADSYNCD_EVENT": fields["event"],
        "ADSYNCD_LOGGER": line.logger,
        **{f"ADSYNCD_{name.upper()}": value for name, value in named.items()},
        **{name.upper(): fields[name] for name in _AS_THEY_ARE & fields.keys()},
    }


def _priority(level: int) -> int:
    """Return syslog's priority: 2 critical, 3 error, 4 warning, 6 informational, 7 debug."""
    return {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}.get(level, 7)


def _field(name: str, value: str) -> bytes:
    """Encode a field with its length, so that a line break in it can't begin another field."""
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
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)  # the journal reads only sealed files
                socket.send_fds(channel, [b""], [file.fileno()])
