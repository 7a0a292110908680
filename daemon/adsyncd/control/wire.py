"""The types of the control API that are not model types: queries, orders, answers and problems.

Their keys are a contract. Instants are ISO 8601 in UTC; a duration has its unit in its name.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasPath, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from adsyncd.config.names import Level
from adsyncd.control import paging
from adsyncd.control.overview import PlatformRow, QuotaRow
from adsyncd.control.problem import Answer
from adsyncd.model.alert import AlertName
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Outcome
from adsyncd.model.selection import Selection, Show
from adsyncd.model.tenant import TENANT_ID

_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")  # a mere number is none, though Pydantic takes it for seconds

PROBLEM_JSON = "application/problem+json"

TenantId = Annotated[str, Field(pattern=f"^{TENANT_ID}$")]
RunId = Annotated[str, Field(pattern=rf"^{TENANT_ID}-[0-9]{{8}}T[0-9]{{6}}\.[0-9]{{3}}Z$")]
SomeText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL
Limit = Annotated[int, Field(ge=1, le=paging.MOST, description="maximum number of items")]
_KIND = f"({'|'.join(Show)})"
Kinds = Annotated[str, Field(pattern=f"^{_KIND}(,{_KIND}){{0,{len(Show) - 1}}}$")]
After = Annotated[
    Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$", max_length=2000)] | SkipJsonSchema[None],
    Field(description="where the page begins: as the Link header of the page before says"),
]


def _is_written(text: str) -> str:
    if not _DATE.match(text):
        raise ValueError("write an instant as 2026-11-25T12:00:00Z")
    return text


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("beyond the calendar") from error


Instant = Annotated[AwareDatetime, BeforeValidator(_is_written), AfterValidator(_in_utc)] | SkipJsonSchema[None]


class Health(Answer):
    """The daemon answers."""

    status: Literal["ok"] = "ok"


class LogLevel(Answer):
    """The lowest level of the daemon's own messages that is logged."""

    level: Level


class Triggered(Answer):
    """A run starts; an interrupted run of the tenant is resumed instead of a new one."""

    tenant: str
    fire_time: datetime


class Cancelled(Answer):
    """A run ends; `run_id` is null if it had not begun."""

    tenant: str
    run_id: str | None
    resumable: bool


class DeadLetterAnswer(Answer):
    """A campaign that runs skip; `payload` is the campaign as the platform lists it."""

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


class AlertAnswer(Answer):
    """An alert that fires since an instant; `summary` describes the problem when it began."""

    tenant: str
    name: AlertName
    severity: Literal["critical", "warning"] = Field(validation_alias=AliasPath("name", "severity"))
    since: datetime
    summary: str


class QuotasAnswer(Answer):
    """The platforms, and a page of tenants with their client ids' quotas, of `total`.

    `over`: how many tenants need more than the quota of their client id; `close`: how many need more than 85 % of it.
    """

    platforms: Sequence[PlatformRow]
    tenants: Sequence[QuotaRow]
    total: int
    over: int
    close: int


class ReplayOutcome(Answer):
    """The outcome of a dead letter's replay: pushed, failed, or pending (not tried). `error` is the reason."""

    tenant: str
    campaign_id: str
    idempotency_key: str
    outcome: Literal[PushState.PUSHED, PushState.FAILED, PushState.PENDING]
    error: str | None

    @classmethod
    def of(cls, letter: DeadLetter, outcome: PushState, error: str | None = None) -> Self:
        """Return the outcome of `letter`."""
        key = letter.idempotency_key
        return cls(
            tenant=letter.tenant, campaign_id=letter.campaign_id, idempotency_key=key, outcome=outcome, error=error
        )


class Query(BaseModel):
    """Base of the query parameters; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OfOne(Query):
    """The tenant in the path."""

    tenant: TenantId


class OfRun(OfOne):
    """The tenant and the run in the path."""

    run: RunId


def of_path(path: str) -> type[Query]:
    """Return the type of the parameters in the path of an endpoint."""
    if "{run}" in path:
        return OfRun
    return OfOne if "{tenant}" in path else Query


class RunsQuery(Query):
    """Selects the latest runs."""

    limit: Limit = 20
    after: After = None


class RunsOfTenantQuery(Query):
    """Selects the latest runs of a tenant that match the filters, by their fire times."""

    since: Instant = Field(None, description="only runs from this instant on")
    before: Instant = Field(None, description="only runs before this instant; the next page has that of the last run")
    outcome: Outcome | SkipJsonSchema[None] = Field(None, description="only runs that ended so")
    limit: Limit = 20


class RunQuery(Query):
    """Selects the first campaigns that a run did not push."""

    limit: Limit = paging.LIMIT


class PageQuery(Query):
    """Selects a page of a list."""

    limit: Limit = paging.LIMIT
    after: After = None


class SelectionQuery(Query):
    """Selects tenants."""

    state: Kinds = Field(Show.ALL.value, description=f"only tenants of one of these kinds: {', '.join(Show)}")
    platform: SomeText | SkipJsonSchema[None] = Field(None, description="only tenants of this platform")
    match: SomeText | SkipJsonSchema[None] = Field(None, description="only those whose id matches this shell pattern")
    q: SomeText | SkipJsonSchema[None] = Field(None, description="only those whose id or client id contains this text")

    @property
    def selection(self) -> Selection:
        """The selected tenants."""
        return Selection(frozenset(map(Show, self.state.split(","))), self.platform, self.match, self.q)


class NamesQuery(SelectionQuery):
    """Selects a page of tenants' ids."""

    limit: Annotated[int, Field(ge=1, le=paging.MOST_NAMES, description="maximum number of items")] = paging.MOST_NAMES
    after: After = None


class TenantsQuery(SelectionQuery, PageQuery):
    """Selects a page of tenants."""

    sort: Literal["id", "worst"] = Field("id", description="`worst`: those that need attention first")


class HistoryQuery(Query):
    """Selects a part of the last 24 hours."""

    since: Instant = Field(None, description="only from this instant on")
    bucket: Literal["30m", "1h", "2h", "3h", "6h", "12h", "1d"] = Field("30m", description="the time of one sum")


class DeadLettersQuery(Query):
    """Selects the oldest dead letters that match the filters."""

    tenant: TenantId | SkipJsonSchema[None] = Field(None, description="only this tenant's")
    reason: SomeText | SkipJsonSchema[None] = Field(None, description="only those whose reason contains this text")
    group: Literal["reason"] | SkipJsonSchema[None] = Field(None, description="count the dead letters by reason")
    limit: Limit = paging.LIMIT
    after: After = None


class Order(BaseModel):
    """Base of the bodies; unknown keys are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LogLevelOrder(Order):
    """Log from this level on, until the daemon restarts."""

    level: Level


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


class CancelOrder(Order):
    """End a run for good, or leave it open, so that the next run resumes it."""

    resumable: bool = False


class ReplayOrder(Order):
    """Push the selected dead letters again; `dry_run` only lists them."""

    dead_letters: OfTenant | ForReason | All
    dry_run: bool = False
