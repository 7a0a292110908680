import fcntl
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest
import structlog
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.util.types import AttributeValue
from structlog.testing import capture_logs

from adsyncd.telemetry import line_queue
from adsyncd.telemetry.instruments import LOG_LINES_DROPPED, Instruments, Metric
from adsyncd.telemetry.log import configure
from support.logging_state import flush, restored_logging

SMALL = 4096  # bytes that a pipe holds, which is a page at least


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """A pipe's two ends, reading and writing. It holds little."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL)
    with os.fdopen(read) as reader, os.fdopen(write, "w") as writer:
        yield reader, writer


class Reader(threading.Thread):
    """Reads a pipe to its end, from the moment when it is made."""

    def __init__(self, source: TextIO) -> None:
        super().__init__()
        self.text = ""
        self._source = source
        self.start()

    def run(self) -> None:
        self.text = self._source.read()

    def lines(self, writer: TextIO) -> list[dict[str, object]]:
        flush()
        writer.close()
        self.join(20)
        return [json.loads(line) for line in self.text.splitlines()]


class Counting(Instruments):
    """Counts what is added to any metric."""

    def __init__(self) -> None:
        super().__init__(NoOpMeterProvider().get_meter("test"))
        self.total = 0.0

    def add(self, metric: Metric, amount: float, **_: AttributeValue) -> None:
        assert metric is LOG_LINES_DROPPED
        self.total += amount


def test_a_reader_that_stands_still_holds_up_nobody_and_what_it_missed_is_counted(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_queue, "_MOST", 20_000)
    reader, writer = pipe
    counting = Counting()
    configure("info", writer).export(None, counting)
    log = structlog.get_logger("adsyncd")
    for number in range(500):
        log.info("page is listed", number=number)  # far more than pipe and queue hold
    reading = Reader(reader)
    flush()
    log.info("ready")
    *said, ready = reading.lines(writer)
    number = dropped = 0
    for line in said:  # each is in its place, and so is what is said of those that are not there
        if line["event"] == "log lines were dropped":
            assert isinstance(line["count"], int)
            dropped += line["count"]
            number += line["count"]
        else:
            assert line["number"] == number
            number += 1
    assert number == 500
    assert ready["event"] == "ready"
    assert counting.total == dropped > 0


def test_the_count_of_dropped_lines_outlives_a_write_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_queue, "_MOST", 10)
    monkeypatch.setattr(line_queue, "_FLUSH_S", 30)
    writing, go_on = threading.Event(), threading.Event()

    def write(line: line_queue.LogLine) -> None:
        if line.text == "first":
            writing.set()
            assert go_on.wait(30)
        if line.text == "second":
            raise OSError

    queue = line_queue.LineQueue(write)

    def log(text: str) -> None:
        queue.emit(logging.LogRecord("adsyncd", logging.INFO, "", 0, text, None, None))

    log("first")
    assert writing.wait(30)
    log("second")  # can't be written
    log("does not fit")
    with capture_logs() as logs:
        go_on.set()
        queue.flush()
        log("third")
        queue.close()
    assert [(entry["event"], entry["count"]) for entry in logs] == [("log lines were dropped", 2)]


def test_a_stop_waits_for_a_reader_that_stands_still_no_longer_than_it_says(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_queue, "_FLUSH_S", 0.05)
    log = configure("info", pipe[1])
    for _ in range(100):
        structlog.get_logger("adsyncd").info("page is listed")
    before = time.monotonic()
    log.flush()
    log.close()
    assert 0.1 <= time.monotonic() - before < 10
    pipe[0].close()


def test_a_line_that_is_longer_than_the_queue_is_written_whole(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_queue, "_MOST", 100)
    reader, writer = pipe
    reading = Reader(reader)
    configure("info", writer)
    structlog.get_logger("adsyncd").info("drop-in refused", problem="x" * 100_000)
    [line] = reading.lines(writer)
    assert line["problem"] == "x" * 100_000


def test_a_reader_that_is_gone_is_missed_by_nobody(pipe: tuple[TextIO, TextIO]) -> None:
    reader, writer = pipe
    counting = Counting()
    configure("info", writer).export(None, counting)
    reader.close()
    for _ in range(3):
        structlog.get_logger("adsyncd").info("ready")
        flush()
    assert counting.total == 3


def test_a_stream_that_others_have_made_non_blocking_gets_every_line(pipe: tuple[TextIO, TextIO]) -> None:
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    configure("info", writer)
    for number in range(200):
        structlog.get_logger("adsyncd").info("page is listed", number=number)
    reading = Reader(reader)
    assert [line["number"] for line in reading.lines(writer)] == list(range(200))


def test_a_line_that_cannot_be_made_costs_itself_alone() -> None:
    class Unspeakable:
        def __repr__(self) -> str:
            raise KeyError

    stream = io.StringIO()
    configure("info", stream)
    structlog.get_logger("adsyncd").info("ready", what=Unspeakable())
    structlog.get_logger("adsyncd").info("ready")
    flush()
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], second["event"], second["count"]) == ("ready", "log lines were dropped", 1)


def test_lines_of_all_threads_are_written_each_whole(pipe: tuple[TextIO, TextIO]) -> None:
    reader, writer = pipe
    reading = Reader(reader)
    configure("info", writer)

    def say(name: str) -> None:
        for number in range(100):
            structlog.get_logger("adsyncd").info("page is listed", name=name, number=number)

    threads = [threading.Thread(target=say, args=[name]) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = reading.lines(writer)
    for name in ("a", "b", "c"):
        assert [line["number"] for line in said if line["name"] == name] == list(range(100))


CRASHES: dict[str, str] = {
    "raise KeyError('why')": "uncaught exception",
    "import threading; threading.Thread(target=lambda: {}['why']).start()": "uncaught exception in a thread",
    "import warnings; warnings.warn('why')": "why",
    "import asyncio; asyncio.run(crash())": "Task exception was never retrieved",
    "sys.exit(1)": "",
}


@pytest.mark.parametrize(("how", "event"), CRASHES.items())
def test_the_last_lines_of_a_process_are_not_lost_and_what_ended_it_is_one_of_them(how: str, event: str) -> None:
    begin = """
import sys, structlog
from adsyncd.telemetry.log import configure

async def crash():
    async def fail(): raise KeyError("why")
    import asyncio
    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)

configure("info", sys.stderr)
for number in range(100):
    structlog.get_logger("adsyncd").info("page is listed", number=number)
"""
    ended = subprocess.run([sys.executable, "-c", begin + how], capture_output=True, text=True, check=False)
    said = ended.stderr.splitlines()
    assert [json.loads(line)["number"] for line in said if '"page is listed"' in line] == list(range(100))
    if event:
        last = json.loads(said[-1])
        assert event in last["event"]
        assert "why" in str(last)
    assert ended.returncode == ("raise" in how or "exit" in how)
