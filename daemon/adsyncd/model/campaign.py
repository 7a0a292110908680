"""What is synced: a campaign, a page of them, and what became of pushing one."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from adsyncd.escaping import escaped

MOST_NAMED = 10  # odd items, in what is said of a listing
_LONGEST_SHOWN = 64
STATISTICS = frozenset({"impressions", "clicks", "conversions"})

_PUSH_NAMESPACE = uuid.UUID("6f2b1a52-6f0f-5a0e-9a57-0d2f1c7b8e11")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as the platform lists it. `payload` is the whole object as compact JSON with sorted keys.

    A field is None if the platform gives it no value, or one that can't be read.
    """

    id: str
    name: str | None
    status: str | None
    budget: float | None
    impressions: int | None
    clicks: int | None
    conversions: int | None
    created_at: datetime | None
    payload: str


@dataclass(frozen=True, slots=True)
class Oddities:
    """Items of a listing that are not what the API promises: their `count`, and the first ones in words.

    `lost`: how many of them have no usable id, so that no campaign comes of them.
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
    """One page of a listing. `number` counts from 1; `total`, if given, is what the platform claims to have in all.

    `source` names the listing that it belongs to, `etag` is what the platform calls this version of the page, and
    `listed_at` says when it was listed if that was by an earlier run. `odd`: items with a value that can't be read;
    `lacking`: those that lack a field.
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


class PushState(StrEnum):
    """Where a push stands. All but `PENDING` are final for their run."""

    PENDING = "pending"
    PUSHED = "pushed"
    SKIPPED = "skipped"
    FAILED = "failed"
    DEAD_LETTERED = "dead_lettered"


@dataclass(frozen=True, slots=True)
class Push:
    """A push that a run owes or owed, and what became of it.

    `attempts` counts the requests that cost an attempt; `failures` the tenant's runs before this one, in a row, in
    which the campaign failed.
    """

    campaign_id: str
    state: PushState
    attempts: int = 0
    error: str | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A campaign that is left alone until it is replayed, discarded, or changed or deleted upstream.

    `attempts` counts those under its key, by the run in which it died and by replays; `failures` the runs in a row,
    that one included; `reason` and `trace_id` are those of its last push. `payload` is the campaign's.
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
    """Return an id as it may stand in a sentence: a long one cut short, what does not print escaped."""
    return escaped(campaign_id[:_LONGEST_SHOWN]) + "..." * (len(campaign_id) > _LONGEST_SHOWN)


def content_hash(campaign: Campaign) -> str:
    """Return what changes when the campaign was changed: a hash of its payload without its statistics.

    Those move by themselves; were they content, every campaign that is seen by anybody would always have changed.
    """
    content = {key: value for key, value in json.loads(campaign.payload).items() if key not in STATISTICS}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def idempotency_key(tenant_id: str, campaign_id: str, run_id: str) -> str:
    """Return the key of one push: the same for the same three, across retries, restarts and replays."""
    return str(uuid.uuid5(_PUSH_NAMESPACE, f"{tenant_id}/{campaign_id}/{run_id}"))
