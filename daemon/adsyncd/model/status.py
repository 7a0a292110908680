"""The status of tenants, the daemon and Vault, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from adsyncd.errors import Problem
from adsyncd.model.run import Run, Tally, Wait
from adsyncd.model.selection import Show
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.model.verdict import Verdict
from adsyncd.rate.quota import Shape
from adsyncd.rate.wait import WaitReason


class State(StrEnum):
    """The state of a tenant.

    `WAITING`: it runs, and a request waits, or its run waits for its turn to begin. `ELSEWHERE`: another process works
    on it. `DRAINING`: its drop-in is gone, its last run is in progress. `DISABLED`: by its drop-in.
    `REFUSED`: its files were never valid. `UNKNOWN`: a bug in adsyncd.
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
    """A run in progress in this process, its start, its growing counts, and how late it began: see Run."""

    run_id: str
    since: datetime
    tally: Tally
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run. Its counts, lateness and waits are as in a `Run`.

    `announced` is the highest total that a page named.

    `done_at` is the estimated end if only the quota limits the run; None before the first page.
    """

    run_id: str
    since: datetime
    announced: int
    listed: int
    pushed: int
    skipped: int
    stored: int
    dead_lettered: int
    failed: int
    requests: int
    retries: int
    refused: int
    waited_s: float
    done_at: datetime | None
    late_s: float = 0.0
    skipped_ticks: int = 0
    waits: Mapping[WaitReason, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """The status of a tenant.

    A run in progress ends with the account that it began with; if that has changed meanwhile, `client_id`, permits and
    error are those of the run, and `next_client_id` is the present client id.

    `wait` is the wait of its requests that ends first; `turn`, while its run waits for its turn to begin, how many runs
    begin before it, at most; `holder` the other process that works on it; `last_run` the latest that ended;
    `permits_free` how many of `permits` are free now, and `shape` how they are granted. `error` is the last error since
    the last success; `refused` the problems of its files, whose last good version is in force. A disabled or refused
    tenant has no permits. `verdict`: what is wrong with it; None if nothing is. `unread`: why the database
    was not asked or did not answer in time, so that the status comes from memory alone.
    """

    id: str
    state: State
    client_id: str | None = None
    platform: str | None = None
    next_client_id: str | None = None
    wait: Wait | None = None
    turn: int | None = None
    holder: str | None = None
    run: RunProgress | None = None
    next_fire_time: datetime | None = None
    paused_since: datetime | None = None
    last_run: Run | None = None
    permits: int = 0
    permits_free: int = 0
    shape: Shape | None = None
    dead_letters: int | None = None
    error: str | None = None
    refused: Sequence[Problem] = ()
    verdict: Verdict | None = None
    unread: str | None = None


class VaultState(StrEnum):
    """The state of Vault: as a whole, for one identity, or at one path."""

    UP = "up"
    UNASKED = "not asked yet"
    # Vault as a whole.
    SEALED = "sealed"
    UNINITIALIZED = "not initialized"
    DOWN = "down"
    SLOW = "slow"
    FAILING = "failing"
    LIMITED = "limited"
    UNTRUSTED = "untrusted"
    # One identity can't sign in.
    REFUSED = "sign-in refused"
    NO_SECRET = "own secret missing"  # noqa: S105 - a state
    NO_NAMESPACE = "wrong namespace"
    NO_ROLE = "role missing"
    UNWRAPPED = "already unwrapped"
    TOO_SHORT = "token too short"
    # One secret can't be read.
    DENIED = "permission denied"
    MISSING = "secret missing"
    DELETED = "secret deleted"


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """The state of Vault for the daemon, since when, and its error with the fix, or None."""

    state: VaultState
    since: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class Export:
    """How the export of one signal goes. `succeeded`: at least once; `cause`: why items are being lost, or None."""

    succeeded: bool = False
    cause: str | None = None

    @property
    def works(self) -> bool:
        """Whether an export has succeeded and nothing is being lost."""
        return self.succeeded and self.cause is None


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The status of the daemon: the number of tenants by state, the number of runs in progress, and its errors.

    `refused`: the problems of files. `vault`: None without Vault. `breakers`: the platforms' hosts with an open circuit
    breaker, and why. `store`: why the database can't be used, or None. `telemetry`: the signals that are to be
    exported. `counts`: the number of tenants of each kind.
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
    telemetry: Mapping[str, Export] = field(default_factory=dict)
    counts: Mapping[Show, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """The problems of a tenant's files, or (if `tenant` is None) of the settings, a directory or a platform's profile.

    `goes_on`: the last good version is in force. `platform`: the platform whose profile has the problems. A tenant that
    is refused because of it has no `problems` of its own.
    """

    tenant: str | None
    problems: tuple[Problem, ...]
    goes_on: bool
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """The cost of a change of quotas: the tenant sends nothing until `until`, for `lasts_s` seconds."""

    tenant: str
    until: datetime
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of a reload: the tenants' ids, the refused files, and how many added tenants were due at once.

    `silent`: the tenants that a change of quotas keeps from sending for a while. `ignored`: files and folders that have
    no effect, which may be a mistake. `restart`: the changed settings that need a restart.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[RefusedFile, ...]
    due: int
    took_s: float
    silent: tuple[Silence, ...] = ()
    ignored: tuple[Problem, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadPreview:
    """What a reload would change: the tenants' ids, and the keys of each changed tenant. See Reloaded."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, Sequence[str]]
    unchanged: int
    refused: tuple[RefusedFile, ...]
    ignored: tuple[Problem, ...]
    restart: tuple[str, ...]


def progress(going: Going, done_at: datetime | None) -> RunProgress:
    """Return the progress of a run."""
    counts = {name: getattr(going.tally, name) for name in RunProgress.__slots__ if name in Tally.__slots__}
    counts["waits"] = going.tally.waits_so_far()
    return RunProgress(going.run_id, going.since, done_at=done_at, late_s=going.late_s, **counts)


def remaining_permits(tally: Tally, tenant: Tenant) -> int | None:
    """Return how many permits a run has left to take if no request fails: those of its remaining pages and pushes.

    None if the number of campaigns is unknown: before the first page, and while a run that only stores lists the pages
    of a platform that names no total.
    """
    profile, pulls = tenant.platform.profile, tenant.sync.push is PushPolicy.NONE
    if not tally.announced or (pulls and tally.listed >= tally.announced):
        return None
    pages = -(min(0, tally.listed - tally.announced) // tenant.sync.page_size)
    owed = 0 if pulls else max(tally.announced, tally.listed) - tally.settled
    return pages * profile.listing.cost + owed * (profile.push.cost if profile.push else 0)


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `2 files`, `3 retries`."""
    if number == 1:
        return f"{number} {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number} {plural}"


def were(number: int) -> str:
    """Return the verb of a number of things."""
    return "was" if number == 1 else "were"


def free_in_words(free: int, permits: int) -> str:
    """Return how many permits are free: `7 of 10 are free`. After a quota was lowered, more may be out than it has."""
    over = f"; {-free:,} more {'is' if free == -1 else 'are'} out than the quota allows" if free < 0 else ""
    return f"{max(free, 0):,} of {permits:,} {'is' if permits == 1 else 'are'} free{over}"
