"""A bounded queue of log lines, and the thread that writes them.

A log whose reader stalls, such as a pager, a full pipe or a stuck journal, delays neither runs nor a stop.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import UnsupportedOperation
from typing import TextIO

import structlog

_log = structlog.stdlib.get_logger(__name__)

_MOST = 4 << 20  # characters in the queue
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line without its line break, its numeric level and its logger."""

    text: str
    level: int
    logger: str


Write = Callable[[LogLine], None]


class LineQueue(logging.Handler):
    """Formats records in the caller's thread, and calls `write` with each line, in order, in a thread of its own.

    `write` may block or fail. Lines that do not fit into the queue or can't be written are dropped and counted; once
    lines can be written again, the log says how many were dropped. `dropped` is called for each.
    """

    def __init__(self, write: Write) -> None:
        super().__init__()
        self.dropped: Callable[[], object] = lambda: None
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[LogLine] = []
        self._size = 0
        self._unreported = 0  # dropped lines
        self._full = False
        self._writing = False
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:  # noqa: N802 - its parent's name
        """Use no lock of `logging`'s: the writing thread logs too, while `logging.shutdown` waits for it."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line, or drop it."""
        try:
            line = LogLine(self.format(record), record.levelno, record.name)
        except Exception:  # noqa: BLE001 - as in every handler: logging must not fail
            self._drop()
            return
        if threading.current_thread() is self._thread:  # the report of dropped lines, in their place
            self._write_one(line)
            return
        with self._changed:
            self._full = self._full or bool(self._waiting and self._size + len(line.text) > _MOST)
            if not (self._full or self._closed):
                self._waiting.append(line)
                self._size += len(line.text)
                self._changed.notify_all()
                return
        self._drop()

    def flush(self) -> None:
        """Wait until all lines are written, for a second at most."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), _FLUSH_S)

    def close(self) -> None:
        """Flush, then end the thread."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _drop(self) -> None:
        with self._changed:
            self._unreported += 1
        self.dropped()

    def _write_all(self) -> None:
        while batch := self._take():
            lines, dropped = batch
            written = [self._write_one(line) for line in lines]
            if dropped and written[-1]:
                _log.warning("log lines were dropped", count=dropped)
            else:
                with self._changed:
                    self._unreported += dropped

    def _write_one(self, line: LogLine) -> bool:
        try:
            self._write(line)
        except Exception:  # noqa: BLE001 - the thread lives as long as the log
            self._drop()
            return False
        return True

    def _take(self) -> tuple[list[LogLine], int] | None:
        """Wait for lines; return all of them and how many were dropped after them, or None once closed."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = (self._waiting, self._unreported) if self._waiting else None
            self._waiting, self._size, self._unreported, self._full = [], 0, 0, False
            self._writing = True
            return batch


def to_stream(stream: TextIO) -> Write:
    """Return a function that writes lines to a stream, not through its buffer: a hanging write would keep its lock."""

    def write(line: LogLine) -> None:
        try:
            number = stream.fileno()
        except UnsupportedOperation:  # it is in memory
            stream.write(f"{line.text}\n")
            return
        data = f"{line.text}\n".encode(errors="backslashreplace")
        while data:
            try:
                data = data[os.write(number, data) :]
            except BlockingIOError:  # another process that shares it made it non-blocking
                _wait_writable(number)

    return write


def _wait_writable(number: int) -> None:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    poll.poll()
