"""How tenants, the daemon and Vault stand, as values: what each does, what it waits for, and what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from adsyncd.errors import Problem
from adsyncd.model.run import Run, Tally, Wait
from adsyncd.rate.quota import Shape


class State(StrEnum):
    """What a tenant does.

    `WAITING`: it runs, and a request waits. `ELSEWHERE`: at its last tick another process was at work on it.
    `DRAINING`: its drop-in is gone, its run goes on. `DISABLED`: its drop-in says so. `REFUSED`: its files were never
    right. `UNKNOWN`: a bug keeps adsyncd from saying.
    """

    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    ELSEWHERE = "running elsewhere"
    DISABLED = "disabled"
    REFUSED = "refused"
    DRAINING = "draining"
    UNKNOWN = "unknown"


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


class VaultState(StrEnum):
    """What Vault is like: as a whole, for who signs in, or at one path."""

    UP = "up"
    UNASKED = "not asked yet"
    # Vault answers nobody.
    SEALED = "sealed"
    UNINITIALIZED = "not initialized"
    DOWN = "down"
    SLOW = "slow"
    FAILING = "failing"
    LIMITED = "limited"
    UNTRUSTED = "untrusted"
    # Vault lets one identity not sign in.
    REFUSED = "sign-in refused"
    NO_SECRET = "own secret missing"  # noqa: S105 - a state
    NO_NAMESPACE = "wrong namespace"
    NO_ROLE = "role missing"
    UNWRAPPED = "already unwrapped"
    TOO_SHORT = "token too short"
    # Vault does not give one secret.
    DENIED = "permission denied"
    MISSING = "secret missing"
    DELETED = "secret deleted"


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """What Vault is like for the daemon, since when, and what is wrong, with its fix; None if nothing is."""

    state: VaultState
    since: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """How the daemon stands: how many tenants are in which state, how many runs go on, and what is wrong.

    `refused`: what is wrong with files. `vault`: how Vault stands, None where there is none. `breakers`: the hosts of
    platforms that are left alone for now, and why. `store`: why the database can't be used, or None.
    """

    version: str
    since: datetime
    stopping: bool
    tenants: Mapping[State, int]
    runs: int
    refused: Sequence[Problem]
    vault: VaultStatus | None
    breakers: Sequence[str]
    store: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a tenant's files, or with the settings or a directory: then `tenant` is None.

    `goes_on`: what was read when they were right still counts.
    """

    tenant: str | None
    problems: tuple[Problem, ...]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Silence:
    """What a change of quotas costs: the tenant sends nothing `until` then, for `lasts_s` seconds."""

    tenant: str
    until: datetime
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload came to: tenants' ids, what is refused, and how many of those added were due already.

    `silent`: those whose quotas changed, and let nothing through for a while.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[Refusal, ...]
    due: int
    took_s: float
    silent: tuple[Silence, ...] = ()


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
    pages = -(min(0, tally.listed - tally.announced) // page_size)
    return max(tally.announced, tally.listed) - tally.settled + pages


def counted(number: int, noun: str) -> str:
    """Return so many of something in words: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
