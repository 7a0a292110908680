"""What is synced: a campaign, a page of them, and what became of pushing one."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

STATISTICS = frozenset({"impressions", "clicks", "conversions"})

_PUSH_NAMESPACE = uuid.UUID("6f2b1a52-6f0f-5a0e-9a57-0d2f1c7b8e11")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as the platform lists it. `payload` is the whole object as compact JSON with sorted keys."""

    id: str
    name: str
    status: str
    budget: float
    impressions: int
    clicks: int
    conversions: int
    created_at: datetime
    payload: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `number` counts from 1; `total` is what the platform says that there is in all.

    `source` names the listing that it belongs to, `etag` is what the platform calls this version of the page, and
    `listed_at` says when it was listed if that was by an earlier run.
    """

    number: int
    campaigns: tuple[Campaign, ...]
    total: int
    has_more: bool
    source: str = ""
    etag: str | None = None
    listed_at: datetime | None = None


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


def content_hash(campaign: Campaign) -> str:
    """Return what changes when the campaign was changed: a hash of its payload without its statistics.

    Those move by themselves; were they content, every campaign that is seen by anybody would always have changed.
    """
    content = {key: value for key, value in json.loads(campaign.payload).items() if key not in STATISTICS}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def idempotency_key(tenant_id: str, campaign_id: str, run_id: str) -> str:
    """Return the key of one push: the same for the same three, across retries, restarts and replays."""
    return str(uuid.uuid5(_PUSH_NAMESPACE, f"{tenant_id}/{campaign_id}/{run_id}"))
