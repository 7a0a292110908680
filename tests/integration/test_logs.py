"""A datagram socket in the place of systemd's journal."""

import array
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from structlog.contextvars import bound_contextvars

from adsyncd.telemetry import journald as journals
from adsyncd.telemetry.log import configure
from support.logging_state import flush, restored_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "stderr").open("w+") as file:
        yield file


@pytest.fixture
def journal(tmp_path: Path, stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as the journal does, and be what the stream leads to."""
    monkeypatch.setattr(journals, "_JOURNAL", str(tmp_path / "journal"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(20)
        configure("debug", stream, journal_stream=leads_to(stream))
        yield listener


def leads_to(stream: TextIO) -> str:
    about = os.fstat(stream.fileno())
    return f"{about.st_dev}:{about.st_ino}"


def entry(listener: socket.socket) -> Mapping[str, str]:
    """Read an entry as the journal does."""
    data, ancillary, _, _ = listener.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    if ancillary:
        [file] = array.array("i", ancillary[0][2])
        data = os.pread(file, 1 << 30, 0)
        os.close(file)
    fields = {}
    while data:
        name, _, rest = data.partition(b"\n")
        end = 8 + int.from_bytes(rest[:8], "little")
        fields[name.decode()], data = rest[8:end].decode(), rest[end + 1 :]
    return fields


def test_an_entry_has_its_priority_and_every_key_as_a_field(journal: socket.socket, stream: TextIO) -> None:
    with (
        TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("sync.run") as span,
        bound_contextvars(tenant="acme", run_id="acme-1"),
    ):
        structlog.get_logger("adsyncd.supervisor").error("run ended", pushed=3, database=Path("adsyncd.db"))
    fields = dict(entry(journal))
    message, *bound = fields.pop("MESSAGE").rsplit(" ", 2)
    assert message == "run ended pushed=3 database=adsyncd.db"
    assert set(bound) == {"tenant=acme", "run_id=acme-1"}  # what is bound to a context has no order
    assert fields == {
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "adsyncd",
        "ADSYNCD_EVENT": "run ended",
        "ADSYNCD_LOGGER": "adsyncd.supervisor",
        "ADSYNCD_TENANT": "acme",
        "ADSYNCD_RUN_ID": "acme-1",
        "ADSYNCD_PUSHED": "3",
        "ADSYNCD_DATABASE": "adsyncd.db",
        "TRACE_ID": f"{span.get_span_context().trace_id:032x}",
        "SPAN_ID": f"{span.get_span_context().span_id:016x}",
    }
    flush()
    stream.seek(0)
    assert stream.read() == ""


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_levels_are_priorities_of_syslog(journal: socket.socket, level: str, priority: int) -> None:
    getattr(structlog.get_logger("adsyncd"), level)("ready")
    assert entry(journal)["PRIORITY"] == str(priority)


def test_a_value_cannot_forge_a_field_or_another_entry(journal: socket.socket) -> None:
    structlog.get_logger("adsyncd").info("page is malformed", reason="x\nPRIORITY=0\n\nMESSAGE=all is well")
    forged = entry(journal)
    assert forged["ADSYNCD_REASON"] == "x\nPRIORITY=0\n\nMESSAGE=all is well"
    assert forged["MESSAGE"] == r"page is malformed reason=x\nPRIORITY=0\n\nMESSAGE=all is well"
    assert forged["PRIORITY"] == "6"


def test_an_exception_is_below_its_message(journal: socket.socket) -> None:
    try:
        1 / 0  # noqa: B018 - raises
    except ZeroDivisionError:
        structlog.get_logger("adsyncd").exception("run broke down", tenant="acme")
    message, *stack = entry(journal)["MESSAGE"].splitlines()
    assert message == "run broke down tenant=acme"
    assert stack[-1] == "ZeroDivisionError: division by zero"


def test_an_entry_that_is_too_long_for_a_datagram_arrives_whole(journal: socket.socket) -> None:
    structlog.get_logger("adsyncd").error("drop-in refused", problem="x" * (4 << 20))
    assert len(entry(journal)["ADSYNCD_PROBLEM"]) == 4 << 20


def test_a_journal_that_stands_still_holds_up_nobody_and_misses_nothing_that_waits(journal: socket.socket) -> None:
    for number in range(1000):  # far more than a socket holds
        structlog.get_logger("adsyncd").info("page is listed", number=number)
    assert [entry(journal)["ADSYNCD_NUMBER"] for _ in range(1000)] == [str(number) for number in range(1000)]


def test_without_its_journal_an_entry_is_a_line(journal: socket.socket, stream: TextIO) -> None:
    journal.close()
    structlog.get_logger("adsyncd").error("run ended")
    flush()
    stream.seek(0)
    assert json.loads(stream.read())["event"] == "run ended"


@pytest.mark.parametrize("journal_stream", [None, "1:1"], ids=["no journal", "another's"])
def test_a_stream_that_leads_elsewhere_gets_lines(stream: TextIO, journal_stream: str | None) -> None:
    configure("info", stream, journal_stream=journal_stream)
    structlog.get_logger("adsyncd").info("ready")
    flush()
    stream.seek(0)
    assert json.loads(stream.read())["event"] == "ready"
