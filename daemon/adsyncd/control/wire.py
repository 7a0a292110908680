"""What goes over the control socket, where that is not one of our own values as it is: orders, queries and refusals.

Keys are a contract. Instants are ISO 8601 in UTC; a duration has its unit in its name.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from adsyncd.model import campaign
from adsyncd.model.campaign import PushState
from adsyncd.model.status import Reloaded
from adsyncd.model.tenant import TENANT_ID

PROBLEM_JSON = "application/problem+json"

TenantId = Annotated[str, Field(pattern=f"^{TENANT_ID}$")]
SomeText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL
Limit = Annotated[int, Field(ge=1, le=1000, description="at most so many")]


class Answer(BaseModel):
    """What the daemon answers."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)


class Health(Answer):
    """That the daemon answers."""

    status: Literal["ok"] = "ok"


class Triggered(Answer):
    """A run begins. One of the tenant's that was cut off is taken up in its place."""

    tenant: str
    fire_time: datetime


class DeadLetter(Answer):
    """A campaign that runs leave alone; `payload` is the campaign as the platform lists it."""

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
    payload: Annotated[dict[str, Any], BeforeValidator(json.loads)]


class Replayed(Answer):
    """What became of a dead letter: pushed; failed, again; or pending: not tried. `error`: why it still is one."""

    tenant: str
    campaign_id: str
    idempotency_key: str
    outcome: Literal[PushState.PUSHED, PushState.FAILED, PushState.PENDING]
    error: str | None

    @classmethod
    def of(cls, letter: campaign.DeadLetter, outcome: PushState, error: str | None = None) -> Self:
        """Return what became of `letter`."""
        key = letter.idempotency_key
        return cls(
            tenant=letter.tenant, campaign_id=letter.campaign_id, idempotency_key=key, outcome=outcome, error=error
        )


class ProblemDetails(Answer):
    """Why something was not done: a problem as in RFC 9457. `fix`: what to do about it."""

    title: str
    status: int
    detail: str
    fix: str | None = None


class FilesRefused(ProblemDetails):
    """Some drop-ins were refused. The others are in force, and so is the last good version of those."""

    report: Reloaded


class Query(BaseModel):
    """What is asked in an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OfOne(Query):
    """Which tenant is meant: a part of the path."""

    tenant: TenantId


class RunsQuery(Query):
    """Which runs are meant: the latest."""

    limit: Limit = 20


class DeadLettersQuery(Query):
    """Which dead letters are meant: the oldest that match what is given."""

    tenant: TenantId | SkipJsonSchema[None] = Field(None, description="those of this tenant")
    reason: SomeText | SkipJsonSchema[None] = Field(None, description="those whose reason contains this text")
    limit: Limit = 100


class Order(BaseModel):
    """What is told in a body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class OfTenant(Order):
    """A tenant's dead letters, or those of some of its campaigns, or those whose reason contains a text."""

    tenant: TenantId
    campaign_ids: Annotated[tuple[SomeText, ...], Field(min_length=1, max_length=1000)] | None = None
    reason: SomeText | None = None


class ForReason(Order):
    """All tenants' dead letters whose reason contains a text."""

    reason: SomeText


class All(Order):
    """All dead letters."""

    all: Literal[True]


class ReplayOrder(Order):
    """Push dead letters again, or with `dry_run` only list those that are meant."""

    dead_letters: OfTenant | ForReason | All
    dry_run: bool = False
