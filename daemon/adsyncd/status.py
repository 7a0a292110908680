"""How a tenant stands, as values: what it does, what it waits for, and when that will be over."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from adsyncd.errors import Problem
from adsyncd.run import Run, Tally, Wait
from adsyncd.tenant import Shape


class State(StrEnum):
    """What a tenant does.

    `WAITING`: it runs, and a request waits. `ELSEWHERE`: at its last tick another process was at work on it.
    `DRAINING`: its drop-in is gone, its run goes on. `DISABLED`: its drop-in says so. `REFUSED`: its files were never
    right.
    """

    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    ELSEWHERE = "running elsewhere"
    DISABLED = "disabled"
    REFUSED = "refused"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Going:
    """A run that goes on in this process, since when it does, and its counts, which grow."""

    run_id: str
    since: datetime
    tally: Tally


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come. The counts are those of a `Run`; `announced`: the most campaigns that a page named.

    `done_at`: when it will be done if nothing but the quota holds it up; None before a page was listed.
    """

    run_id: str
    since: datetime
    announced: int
    listed: int
    pushed: int
    skipped: int
    dead_lettered: int
    failed: int
    requests: int
    retries: int
    refused: int
    waited_s: float
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """How a tenant stands.

    `wait` is what is over first of all that its requests wait for; `last_run` the latest that ended; `permits_free` how
    many of `permits` could be taken now, and `shape` how they are let out. `error` is what went wrong last and has not
    been followed by a success; `refused` what is wrong with its files, so that their last good version counts. One that
    is disabled or refused has no permits.
    """

    id: str
    state: State
    client_id: str | None = None
    platform: str | None = None
    wait: Wait | None = None
    run: Progress | None = None
    next_fire_time: datetime | None = None
    paused_since: datetime | None = None
    last_run: Run | None = None
    permits: int = 0
    permits_free: int = 0
    shape: Shape | None = None
    dead_letters: int | None = None
    error: str | None = None
    refused: Sequence[Problem] = ()


def progress(going: Going, done_at: datetime | None) -> Progress:
    """Return how far a run has come."""
    counts = {name: getattr(going.tally, name) for name in Progress.__slots__ if name in Tally.__slots__}
    return Progress(going.run_id, going.since, done_at=done_at, **counts)


def remaining_requests(tally: Tally, page_size: int) -> int | None:
    """Return how many requests a run still has to make if none fails: a push for each campaign, and the pages left.

    None before a page was listed: nobody knows how many campaigns there are.
    """
    if not tally.announced:
        return None
    pages = math.ceil(max(0, tally.announced - tally.listed) / page_size)
    return max(tally.announced, tally.listed) - tally.settled + pages


def counted(number: int, noun: str) -> str:
    """Return so many of something in words: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
