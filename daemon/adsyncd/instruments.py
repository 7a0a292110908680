"""The names that people look for in their tracing backend: spans, attributes and metrics.

The names are part of the contract with users: dashboards and alerts are built on them.
"""

from dataclasses import dataclass
from typing import Literal

SPAN_RUN = "sync.run"
SPAN_LIST = "campaigns.list"
SPAN_PAGE = "campaigns.page"
SPAN_PUSH = "campaign.push"
SPAN_QUOTA_WAIT = "quota.wait"
SPAN_TOKEN = "token.refresh"  # noqa: S105 - a span's name
SPAN_CREDENTIALS = "credentials.read"
SPAN_STORE = "store.write"

TENANT = "adsyncd.tenant"
CLIENT_ID = "adsyncd.client_id"
RUN_ID = "adsyncd.run_id"
CAMPAIGN_ID = "adsyncd.campaign_id"
ATTEMPT = "adsyncd.attempt"
OUTCOME = "adsyncd.outcome"
ERROR_TYPE = "error.type"  # semantic conventions, "error.type"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its kind, name, UCUM unit and what it says."""

    kind: Literal["counter", "histogram", "gauge"]
    name: str
    unit: str
    description: str


LISTED = Metric("counter", "adsyncd.campaigns.listed", "{campaign}", "Campaigns that runs found in listings")
PUSHED = Metric("counter", "adsyncd.campaigns.pushed", "{campaign}", "Campaigns that runs pushed")
FAILED = Metric("counter", "adsyncd.campaigns.failed", "{campaign}", "Campaigns that a run could not push")
REQUESTS = Metric(
    "counter", "adsyncd.requests", "{request}", "Metered requests sent, by tenant and status class"
)
RETRIES = Metric("counter", "adsyncd.retries", "{request}", "Requests that repeat one that failed")
QUOTA_WAIT = Metric("counter", "adsyncd.quota.wait", "s", "Time in which a tenant's run waited for quota")
QUOTA_PERMITS = Metric(
    "gauge", "adsyncd.quota.permits", "{permit}", "Permits of a tenant's bucket that are free"
)
RUN_DURATION = Metric("histogram", "adsyncd.run.duration", "s", "How long runs took, by outcome")
RUNS = Metric("counter", "adsyncd.runs", "{run}", "Runs that ended, by tenant and outcome")
RUNS_OVERLAPPED = Metric(
    "counter", "adsyncd.runs.overlapped", "{run}", "Ticks skipped: the last run still went on"
)
DEAD_LETTERS = Metric("gauge", "adsyncd.dead_letters", "{campaign}", "A tenant's dead letters")
TOKEN_EXPIRES_IN = Metric(
    "gauge", "adsyncd.token.expires_in", "s", "Time until a tenant's access token expires"
)

METRICS = (
    LISTED, PUSHED, FAILED, REQUESTS, RETRIES, QUOTA_WAIT, QUOTA_PERMITS,
    RUN_DURATION, RUNS, RUNS_OVERLAPPED, DEAD_LETTERS, TOKEN_EXPIRES_IN,
)  # fmt: skip
