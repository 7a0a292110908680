"""The tables. `migrations/` creates them; a test compares the two."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Enum,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from adsyncd.model.alert import AlertName
from adsyncd.model.campaign import PushState
from adsyncd.model.day import SUMS
from adsyncd.model.run import Listing, Outcome
from adsyncd.rate.quota import Shape
from adsyncd.rate.wait import WaitReason

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Instant(TypeDecorator[datetime]):
    """An aware datetime, read back in UTC. SQLite has no time zones and keeps text in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Convert to UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Add UTC to SQLite's, and convert PostgreSQL's from the session's zone."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class Words(TypeDecorator[str]):
    """Text that may quote foreign input. U+FFFD replaces what no database stores: NUL and lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Replace characters that can't be stored."""
        return value and _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


class WaitTimes(TypeDecorator[Mapping[WaitReason, float]]):
    """Seconds by the reason of a wait, as JSON."""

    impl = Text
    cache_ok = True
    python_type = dict

    def process_bind_param(self, value: Mapping[WaitReason, float] | None, dialect: Dialect) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """Write JSON, in milliseconds' precision."""
        return json.dumps({reason: round(seconds, 3) for reason, seconds in (value or {}).items()})

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[WaitReason, float]:  # noqa: ARG002 - SQLAlchemy's signature
        """Read JSON."""
        return {WaitReason(reason): seconds for reason, seconds in json.loads(value or "{}").items()}


def _words(kind: type[StrEnum], length: int = 16) -> Enum:
    """Return the type of a column that stores members by value."""
    return Enum(
        kind, native_enum=False, length=length, values_callable=lambda members: [member.value for member in members]
    )


metadata = MetaData()

campaigns = Table(
    "campaigns",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("campaign_id", String, primary_key=True),
    # As listed; null: absent or unreadable.
    Column("name", Text),
    Column("status", Text),
    Column("budget", Double),
    Column("currency", Text),
    Column("impressions", BigInteger),
    Column("clicks", BigInteger),
    Column("conversions", BigInteger),
    Column("created_at", Instant),
    Column("payload", Text, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("pushed_hash", String(64)),  # of the last pushed content; null: unknown, push it
    Column("synced_at", Instant),
    Column("failures", Integer, nullable=False, default=0),  # runs in a row in which it failed
    Column("missed_at", Instant),  # first complete listing without it; null: the last one had it
    Column("deleted_at", Instant),  # the second one in a row
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("fire_time", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("trace_id", String(32), nullable=False),
    Column("ended_at", Instant),
    Column("outcome", _words(Outcome)),
    Column("listed", Integer, nullable=False),
    Column("pushed", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("dead_lettered", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("waited_s", Double, nullable=False),
    Column("error", Words),  # in an open run: the odd items that it listed
    Column("note", Words),
    Column("listing", _words(Listing)),
    Column("next_page", Integer, nullable=False, default=1),
    Column("announced", BigInteger, nullable=False, default=0),  # the largest total that a page named
    Column("complete", Boolean, nullable=False, default=False),  # the last page is listed
    Column("source", Text),  # of its listing
    Column("cursor", Words),  # leads to the next page, if its number does not
    Column("listed_at", Instant),  # time of the first page; null in an ended run: not used again
    Column("late_s", Double, nullable=False, default=0.0),
    Column("skipped_ticks", Integer, nullable=False, default=0),
    Column("waits", WaitTimes, nullable=False, default={}),
    Column("span_id", String(16), nullable=False, default=""),  # empty: an earlier version wrote the run
    Column("untried", Integer, nullable=False, default=0),
    Column("account_hash", String(16), nullable=False, default=""),  # empty: an earlier version wrote the run
    UniqueConstraint("tenant", "fire_time", name="runs_tenant_fire_time"),
    Index("runs_fire_time", "fire_time"),
    Index("runs_trace_id", "trace_id"),
    Index("runs_open", "tenant", "fire_time"),  # of open runs alone; to say so here would import both dialects
    Index("runs_unsuccessful", "outcome", "fire_time"),  # alone those with another outcome than succeeded
)

days = Table(
    "days",  # the runs of a tenant that are too old to be kept, summed up: see `adsyncd.model.day.Day`
    metadata,
    Column("tenant", String, primary_key=True),
    Column("day", Date, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in SUMS if name != "waited_s"),
    Column("waited_s", Double, nullable=False),
    Column("longest_s", Double, nullable=False),
    Column("error", Words),
)

pushes = Table(
    "pushes",  # of open runs; those of an ended run are not owed, and soon removed
    metadata,
    Column("run_id", String, primary_key=True),
    Column("campaign_id", String, primary_key=True),
    Column("idempotency_key", String(36), nullable=False),  # empty: it was never to be sent
    Column("content_hash", String(64), nullable=False),  # as listed by this run
    Column("state", _words(PushState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Words),
    Column("failures", Integer, nullable=False),
    Column("owed_at", Instant, nullable=False),
    Column("settled_at", Instant),
)

unpushed = Table(
    "unpushed",  # campaigns that ended runs did not push; kept as long as their run
    metadata,
    Column("run_id", String, primary_key=True),
    Column("campaign_id", String, primary_key=True),
    Column("state", _words(PushState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Words),
    Column("since", Instant, nullable=False),  # of a dead letter, since when it is one; otherwise when the push failed
)

dead_letters = Table(
    "dead_letters",  # only open ones: closing one removes it
    metadata,
    Column("tenant", String, primary_key=True),
    Column("campaign_id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("idempotency_key", String(36), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("reason", Words),
    Column("attempts", Integer, nullable=False),  # under its key
    Column("failures", Integer, nullable=False),  # runs in a row, the last one counted
    Column("owed_at", Instant, nullable=False),
    Column("dead_at", Instant, nullable=False),
    Column("replayed_at", Instant),
    Column("trace_id", String(32), nullable=False),
    Index("dead_letters_dead_at", "dead_at", "tenant", "campaign_id"),
)

listing_pages = Table(
    "listing_pages",  # of platforms that send ETags; the campaigns are in `campaigns`
    metadata,
    Column("tenant", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("etag", Text, nullable=False),
    Column("campaigns", JSON, nullable=False),  # pairs of id and content hash, in the page's order
    Column("total", BigInteger),
    Column("has_more", Boolean, nullable=False),
)

alerts = Table(
    "alerts",  # firing, or resolved and not delivered yet: see `adsyncd.model.alert.Alert`
    metadata,
    Column("tenant", String, primary_key=True),
    Column("name", _words(AlertName, length=32), primary_key=True),
    Column("since", Instant, nullable=False),
    Column("summary", Words, nullable=False),
    Column("resolved_at", Instant),
    Column("told", Boolean, nullable=False),
)

permits = Table(
    "permits",  # that may be out with a request: see `adsyncd.rate.ledger.PermitRecord`
    metadata,
    Column("platform", String, primary_key=True),
    Column("client_id", String, primary_key=True),  # empty: the platform's own quota
    Column("window_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("free_at", Double, nullable=False),
    Column("boot_id", String, nullable=False),
    Column("owner", String, nullable=False),
)

shapes = Table(
    "shapes",  # learned, how a platform counts a client id's requests: see `adsyncd.rate.pacing.Evidence`
    metadata,
    Column("platform", String, primary_key=True),
    Column("client_id", String, primary_key=True),
    Column("quota", String, nullable=False),  # it was learned with this quota and is void with another one
    Column("shape", _words(Shape), nullable=False),
    Column("strict", Boolean, nullable=False),  # the arrival bound was found to be wrong
    Column("since", Instant, nullable=False),
)

leases = Table(
    "leases",  # of tenants, each held by one process at a time: see `adsyncd.runs.lease.Lease`
    metadata,
    Column("tenant", String, primary_key=True),
    Column("owner", String, nullable=False),  # empty: free
    Column("fence", Integer, nullable=False),  # grows with each change of hands
    Column("beat", BigInteger, nullable=False),  # grows while its owner lives
)

pauses = Table(
    "pauses",  # tenants that an operator has paused
    metadata,
    Column("tenant", String, primary_key=True),
    Column("since", Instant, nullable=False),
)
