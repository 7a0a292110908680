"""A campaign, a page of campaigns, a push and a dead letter."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from adsyncd.escaping import escaped

MOST_NAMED = 10  # odd items of a listing that are named in words
_LONGEST_SHOWN = 64
STATISTICS = ("impressions", "clicks", "conversions")

_PUSH_NAMESPACE = uuid.UUID("6f2b1a52-6f0f-5a0e-9a57-0d2f1c7b8e11")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as the platform lists it. `payload` is the whole object as compact JSON with sorted keys.

    A field is None if the platform gives it no value, or an unreadable one. `currency`: of the budget.
    """

    id: str
    name: str | None
    status: str | None
    budget: float | None
    currency: str | None
    impressions: int | None
    clicks: int | None
    conversions: int | None
    created_at: datetime | None
    payload: str


@dataclass(frozen=True, slots=True)
class Oddities:
    """Items of a listing that break the API's promises: their `count`, and the first ones in words.

    `lost`: how many of them have no usable id, so that they are not stored.
    """

    count: int = 0
    lost: int = 0
    first: tuple[str, ...] = ()

    def __add__(self, more: "Oddities") -> "Oddities":
        return Oddities(self.count + more.count, self.lost + more.lost, (self.first + more.first)[:MOST_NAMED])

    def __str__(self) -> str:
        """Name the first ones, and say how many more there are."""
        more = self.count - len(self.first)
        return "; ".join(self.first) + (f"; and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `number` counts from 1; `total`: how many campaigns the platform claims to have, or None.

    `source` names its listing; `etag` is the platform's name for this version of the page; `listed_at` is the time of
    the listing if an earlier run made it. `odd`: items with an unreadable value; `lacking`: items without a field.

    `next`: what leads to the next page if its number does not. `volatile`: paths to values of the campaigns that are no
    content (see `adsyncd.model.profile.Profile`).
    """

    number: int
    campaigns: tuple[Campaign, ...]
    total: int | None
    has_more: bool
    source: str = ""
    etag: str | None = None
    listed_at: datetime | None = None
    odd: Oddities = Oddities()
    lacking: Oddities = Oddities()
    next: str | None = None
    volatile: tuple[str, ...] = STATISTICS


class PushState(StrEnum):
    """The state of a campaign in a run, and so of its push. All but `PENDING` are final for their run.

    `STORED`: the run only lists and stores; it owes no push.
    """

    PENDING = "pending"
    PUSHED = "pushed"
    SKIPPED = "skipped"
    STORED = "stored"
    FAILED = "failed"
    DEAD_LETTERED = "dead_lettered"


@dataclass(frozen=True, slots=True)
class Push:
    """A push that a run must make or has made.

    `attempts`: the requests that cost an attempt. `failures`: in how many of the tenant's last runs in a row, before
    this one, the campaign failed. `key`: its idempotency key if its tenant had another name, else None.
    """

    campaign_id: str
    state: PushState
    attempts: int = 0
    error: str | None = None
    failures: int = 0
    key: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A campaign that runs skip until it is replayed, discarded, or changed or deleted upstream.

    `attempts`: those under its key, by its last run and by replays. `failures`: the failed runs in a row, the last one
    included. `reason` and `trace_id` are those of its last push; `payload` is the campaign's.
    """

    tenant: str
    campaign_id: str
    run_id: str
    idempotency_key: str
    content_hash: str
    reason: str | None
    attempts: int
    failures: int
    owed_at: datetime
    dead_at: datetime
    replayed_at: datetime | None
    trace_id: str
    payload: str


def shown(campaign_id: str) -> str:
    """Return an id for a message: shortened if it is long, with unprintable characters escaped."""
    return escaped(campaign_id[:_LONGEST_SHOWN]) + "..." * (len(campaign_id) > _LONGEST_SHOWN)


def content_hash(campaign: Campaign, volatile: tuple[str, ...]) -> str:
    """Return a hash of the campaign's payload without the values at the paths in `volatile`, such as its statistics.

    Those change constantly; hashing them would mark every active campaign as changed.
    """
    content = json.loads(campaign.payload)
    for path in volatile:
        _remove(content, path)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _remove(value: object, path: str) -> None:
    """Remove what a dotted path leads to. On its way, a list stands for all of its items."""
    if isinstance(value, list):
        for item in value:
            _remove(item, path)
    elif isinstance(value, dict):
        name, _, rest = path.partition(".")
        if rest:
            _remove(value.get(name), rest)
        else:
            value.pop(name, None)


def idempotency_key(tenant_id: str, campaign_id: str, run_id: str) -> str:
    """Return the key of one push: the same for the same three, across retries, restarts and replays."""
    return str(uuid.uuid5(_PUSH_NAMESPACE, f"{tenant_id}/{campaign_id}/{run_id}"))
