"""Log lines on their way: a bounded queue, and a thread that writes them.

So a log whose reader stands still, such as a pager, a full pipe or a stuck journal, holds up neither runs nor a stop.
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

_MOST = 4 << 20  # characters that wait
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end, its level as a number, and the logger that it is from."""

    text: str
    level: int
    logger: str


Write = Callable[[Line], None]


class LineQueue(logging.Handler):
    """Formats records where they are logged, and calls `write` with each line, in their order, in a thread of its own.

    `write` may block, and may fail. What does not fit into the queue meanwhile, or can't be written, is
    dropped and counted; the log says how much it was once lines can be written again. `dropped` is called for each.
    """

    def __init__(self, write: Write) -> None:
        super().__init__()
        self.dropped: Callable[[], object] = lambda: None
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[Line] = []
        self._size = 0
        self._untold = 0  # lines that were dropped
        self._full = False
        self._writing = False
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:  # noqa: N802 - its parent's name
        """Need no lock of `logging`'s: the thread logs, too, while `logging.shutdown` waits for it."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line, or drop it."""
        try:
            line = Line(self.format(record), record.levelno, record.name)
        except Exception:  # noqa: BLE001 - as every handler does: to log must not fail
            self._drop()
            return
        if threading.current_thread() is self._thread:  # says what was dropped, where that was
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
        """Flush, and write nothing more."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _drop(self) -> None:
        with self._changed:
            self._untold += 1
        self.dropped()

    def _write_all(self) -> None:
        while batch := self._take():
            lines, dropped = batch
            written = [self._write_one(line) for line in lines]
            if dropped and written[-1]:
                _log.warning("log lines were dropped", count=dropped)
            else:
                with self._changed:
                    self._untold += dropped

    def _write_one(self, line: Line) -> bool:
        try:
            self._write(line)
        except Exception:  # noqa: BLE001 - the thread lives as long as the log
            self._drop()
            return False
        return True

    def _take(self) -> tuple[list[Line], int] | None:
        """Wait for lines, and return all of them and how many were dropped after them; None once it is closed."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = (self._waiting, self._untold) if self._waiting else None
            self._waiting, self._size, self._untold, self._full = [], 0, 0, False
            self._writing = True
            return batch


def to_stream(stream: TextIO) -> Write:
    """Return what writes lines to a stream; past its buffer, whose lock a write that hangs would keep for ever."""

    def write(line: Line) -> None:
        try:
            number = stream.fileno()
        except UnsupportedOperation:  # it is in memory
            stream.write(f"{line.text}\n")
            return
        data = f"{line.text}\n".encode(errors="backslashreplace")
        while data:
            try:
                data = data[os.write(number, data) :]
            except BlockingIOError:  # who shares it with us has made it so
                _wait_writable(number)

    return write


def _wait_writable(number: int) -> None:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    poll.poll()
