"""Whether the database works now, known without asking it.

each transaction: asked, answered ─┐
errors of reads ───────────────────┼──► health ──► a text for operators, or None
probe: a tiny write, if no other ──┘
       write succeeded for a while

A full disk or a damaged page fails some writes and lets others pass. Such an error is over once the probe has seen room
on the disk, or no write has failed for longer than a run waits before it tries again: else the state would flap.
"""

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import anyio
import structlog
from sqlalchemy import URL, Connection, delete, insert

from adsyncd.errors import StoreError
from adsyncd.store import sql
from adsyncd.store.tables import pauses
from adsyncd.tasks import beside

_log = structlog.stdlib.get_logger(__name__)

SLOW_S = 5.0  # a transaction takes well under a second
EACH_S = 10.0  # a daemon without other writes is no busier than that
AGAIN_S = 2.0  # between two probes while the database fails
CALM_S = 45.0  # longer than a run whose begin failed waits
_LOOK_S = 1.0
_ANSWERS_S = 1.0  # to a question of an operator
_ROOM = 1 << 20  # bytes that a disk must take before it counts as no longer full
_NOBODY = ""  # no tenant's id

SLOW = "slow"
_PARTIAL = (sql.FULL, sql.IO_ERROR, sql.DAMAGED)  # causes that let some writes pass
_FIXES = {
    sql.FULL: "free space there: runs go on by themselves",
    sql.LOCKED: "find it (for a file: fuser -v FILE) and end it",
    sql.READ_ONLY: "let the daemon's user write it, or name the primary server in store.url",
    sql.IO_ERROR: "see journalctl -k, and move the database to a sound disk",
    sql.AWAY: "see that it runs, and its log",
}


@dataclass(frozen=True, slots=True)
class _Failure:
    cause: str
    last: float


class Health:
    """The health of the database at `url`, by what `Writer` and `Reader` tell it and the probe's writes find."""

    def __init__(self, url: URL, monotonic: Callable[[], float]) -> None:
        self._place = sql.name(url)
        self._monotonic = monotonic
        self._asked: float | None = None  # the start of the transaction in progress
        self._last_success = monotonic()  # it was just opened
        self._last_probe = -math.inf
        self._failure: _Failure | None = None

    def asked(self) -> None:
        """Note that a transaction begins."""
        self._asked = self._monotonic()

    def answered(self, error: Exception | None) -> None:
        """Note that the transaction in progress was committed or failed."""
        self._asked, now = None, self._monotonic()
        if error is not None:
            self.failed(error)
            return
        self._last_success = now
        if (failure := self._failure) is None:
            return
        if failure.cause not in _PARTIAL or now - failure.last >= CALM_S:
            self._failure = None

    def failed(self, error: Exception) -> None:
        """Note an error, if it is the database's."""
        if (cause := sql.cause(error)) is not None:
            self._failure = _Failure(cause, self._monotonic())

    def probing(self) -> None:
        """Note that a probe begins."""
        self._last_probe = self._monotonic()

    def has_room(self) -> None:
        """Note that the disk takes data again."""
        if self.is_full:
            self._failure = None

    @property
    def is_full(self) -> bool:
        """Whether the disk is full, as far as known."""
        return self._failure is not None and self._failure.cause == sql.FULL

    @property
    def cause(self) -> str | None:
        """The cause of the trouble, in constant words, or None."""
        if self._failure is not None:
            return self._failure.cause
        return SLOW if self._silent_s > SLOW_S else None

    @property
    def problem(self) -> str | None:
        """What is wrong with the database, and the fix, or None if it works."""
        cause = self.cause
        if cause == SLOW:
            fix = "look for a process that locks it, and at the load of its disk or server"
            return f"{self._place}: {SLOW}: it has not answered for {self._silent_s:.0f} s; {fix}"
        if cause is None:
            return None
        return "; ".join(part for part in (f"{self._place}: {cause}", _FIXES.get(cause)) if part)

    @property
    def patience_s(self) -> float:
        """For how long a question waits for the database: not at all while it is known to be slow."""
        return 0.0 if self.cause == SLOW else _ANSWERS_S

    @property
    def due_in_s(self) -> float:
        """In how many seconds the next probe is due."""
        now = self._monotonic()
        if self._failure is not None:  # whatever else is written: only the probe finds room
            return max(self._last_probe + AGAIN_S - now, 0.0)
        if self._asked is not None:
            return _LOOK_S
        return max(self._last_success + EACH_S - now, 0.0)

    @property
    def _silent_s(self) -> float:
        return 0.0 if self._asked is None else self._monotonic() - self._asked


class Probed(Protocol):
    """A store that can be probed. See `adsyncd.store.Store`."""

    @property
    def health(self) -> Health:
        """The health of its database."""

    async def probe(self) -> None:
        """Write a little. Raises StoreError."""


async def keep(store: Probed) -> None:
    """Probe the database when nothing else was written, and log changes of its health, until cancelled."""
    known: str | None = None
    async with beside(_probe, store):
        while True:
            cause = store.health.cause
            if cause is None and known is not None:
                _log.info("database works again")
            elif cause is not None and known is None:
                _log.error("database fails", error=store.health.problem)
            known = cause
            await anyio.sleep(_LOOK_S)


async def _probe(store: Probed) -> None:
    while True:
        if (wait_s := store.health.due_in_s) > 0:
            await anyio.sleep(wait_s)
            continue
        with suppress(StoreError):  # the writer tells the health
            await store.probe()
        await anyio.sleep(_LOOK_S)


def touch(connection: Connection, items: Sequence[bool]) -> list[bool]:
    """Write a row and remove it, in the same transaction: nobody else ever sees it.

    `items`: whether to look for room on the disk as well. Returns for each whether it was found.
    """
    connection.execute(insert(pauses), {"tenant": _NOBODY, "since": datetime.fromtimestamp(0, UTC)})
    connection.execute(delete(pauses).where(pauses.c.tenant == _NOBODY))
    looks = any(items) and connection.dialect.name == "sqlite" and connection.engine.url.database
    roomy = bool(looks) and _is_roomy(Path(str(connection.engine.url.database)))
    return [asked and roomy for asked in items]


def _is_roomy(file: Path) -> bool:
    """Return whether the folder of a database takes a file that is longer than its log and itself."""
    try:
        real = file.resolve()
        logs = (real, real.with_name(f"{real.name}-wal"))
        end = max((one.stat().st_size for one in logs if one.exists()), default=0)
        with tempfile.TemporaryFile(dir=real.parent) as trial:  # without a name
            os.pwrite(trial.fileno(), bytes(_ROOM), end)
            os.fsync(trial.fileno())
    except OSError:
        return False
    return True
