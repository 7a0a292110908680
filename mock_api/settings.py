"""The platform's settings as one JSON document.

The command line, a file and `POST /_settings` are all patches of it (RFC 7396, JSON Merge Patch), so that whatever can
be set at the start can be changed while a test runs. What is set for a client id lies over what is set for everyone.
"""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, model_validator

from mock_api.accounts import PlatformAccount
from mock_api.description import ApiDescription
from mock_api.faults import FaultKind
from mock_api.meters import Algorithm, MeteredQuota

Rate = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class RetryAfter(StrEnum):
    """How a 429 states the time to retry. All but `ABSENT` have `retry_after` (seconds) in the body."""

    SECONDS = "seconds"
    DATE = "date"
    BODY = "body"
    ABSENT = "absent"


class RateLimitForm(StrEnum):
    """The header fields with the quota's state in every metered answer."""

    OFF = "off"
    IETF = "ietf"  # RateLimit and RateLimit-Policy, as in version 10 of draft-ietf-httpapi-ratelimit-headers
    IETF_OLD = "ietf-old"  # as in version 07
    X_RATELIMIT = "x-ratelimit"  # X-RateLimit-Limit, -Remaining and -Reset, in seconds from now
    X_RATELIMIT_EPOCH_S = "x-ratelimit-epoch-s"  # or since the epoch
    X_RATELIMIT_EPOCH_MS = "x-ratelimit-epoch-ms"  # or in milliseconds
    META_USAGE = "meta-usage"  # Meta's percentages: X-Ad-Account-Usage, X-Business-Use-Case-Usage and X-App-Usage


class Total(StrEnum):
    """The total that listings claim."""

    RIGHT = "right"
    ABSENT = "absent"
    NULL = "null"
    SMALL = "small"  # half of it
    LARGE = "large"  # archived campaigns, too, as many as there are others
    PAGE = "page"  # those of the page


def _form(value: object) -> object:
    """Take true for the form that there was first."""
    return {True: RateLimitForm.IETF, False: RateLimitForm.OFF}.get(value, value) if isinstance(value, bool) else value


class FurtherQuota(BaseModel, extra="forbid", frozen=True):
    """A quota in addition to the first one."""

    requests: int = Field(ge=1)
    window_s: float = Field(gt=0)


class Behaviour(BaseModel, extra="forbid", frozen=True):
    """How the platform treats a client id. The defaults are the conditions that adsyncd is written for."""

    campaigns: int = Field(100, ge=0, description="campaigns of a client id")
    page_size: int = Field(0, ge=0, description="campaigns on a page, whatever `limit` asks for; 0: as asked")
    revisions: dict[str, int] = Field({}, description="campaign id -> number; its content follows the number")
    deleted: frozenset[str] = Field(frozenset(), description="ids of campaigns that are gone")
    hidden: frozenset[str] = Field(frozenset(), description="ids of campaigns that listings leave out")
    odd: tuple[tuple[str, dict[str, JsonValue]], ...] = Field(
        (), description="pairs of a campaign's id and fields that are listed with other values"
    )
    total: Total = Field(Total.RIGHT, description="what listings claim to have in all")
    shifting: bool = Field(default=False, description="each page that is asked for moves the first campaign to the end")
    rejected: frozenset[str] = Field(frozenset(), description="ids of campaigns whose pushes answer 422")
    rejection: str = Field("this campaign can't be synced", description="what that answer says")

    quota_requests: int = Field(10, ge=1, description="requests accepted per window")
    quota_window_s: float = Field(60, gt=0, description="the window, in seconds")
    quotas: tuple[FurtherQuota, ...] = Field((), description="further quotas; a request counts on all of them or none")
    algorithm: Algorithm = Field(Algorithm.SLIDING_LOG, description="how requests are counted")
    list_cost: int = Field(1, ge=1, description="as how many requests a listing counts; other APIs describe that")
    push_cost: int = Field(1, ge=1, description="as how many requests a push counts")
    foreign_requests: int = Field(0, ge=0, description="requests per window that somebody else makes, evenly spaced")
    throttle_status: int = Field(429, ge=400, le=599, description="status of a refusal; any but 429 has Meta's body")
    retry_after: RetryAfter = Field(RetryAfter.BODY, description="how a 429 says when to come again")
    ratelimit_headers: Annotated[RateLimitForm, BeforeValidator(_form)] = Field(
        RateLimitForm.OFF, description="in which header fields answers tell how the quota stands"
    )

    list_latency_s: Seconds = Field(0, description="time that a listing takes")
    push_latency_s: Seconds = Field(2, description="time that a push takes")
    latency_jitter: Rate = Field(0, description="share by which latencies vary either way")
    idempotency: bool = Field(default=True, description="honour Idempotency-Key")
    etag: bool = Field(default=False, description="listings have an ETag, and If-None-Match answers 304")

    list_503: Rate = Field(0.2, description="share of listings that answer 503")
    list_hang: Rate = Field(0.1, description="share of listings that never answer")
    list_drop: Rate = Field(0, description="share of listings whose connection is closed without an answer")
    list_malformed: Rate = Field(0, description="share of listings whose JSON ends in the middle")
    list_error_code: Rate = Field(0, description="share of listings of other APIs that answer 200 with an error")
    cursor_lifetime_s: Seconds = Field(0, description="life of other APIs' cursors, in seconds; 0: they don't expire")
    push_503: Rate = Field(0, description="share of pushes that answer 503")
    push_hang: Rate = Field(0, description="share of pushes that take effect and never answer")
    push_drop: Rate = Field(0, description="share of pushes that take effect and close the connection")
    push_malformed: Rate = Field(0, description="share of pushes that take effect and answer half a JSON")
    fault: FaultKind = Field(FaultKind.NONE, description="what is wrong with every metered request")
    redirect_to: str = Field("http://redirected.invalid", description="origin that the fault `redirect` points to")

    @cached_property
    def allowed(self) -> tuple[MeteredQuota, ...]:
        """All quotas of the client id; the first one is that of `quota_requests`."""
        further = (MeteredQuota(quota.requests, quota.window_s) for quota in self.quotas)
        return MeteredQuota(self.quota_requests, self.quota_window_s), *further

    @cached_property
    def listing_faults(self) -> tuple[tuple[FaultKind, float], ...]:
        """The faults that come at a rate, for listings."""
        return (
            (FaultKind.UNAVAILABLE, self.list_503),
            (FaultKind.HANG, self.list_hang),
            (FaultKind.DROP, self.list_drop),
            (FaultKind.MALFORMED, self.list_malformed),
            (FaultKind.ERROR_CODE, self.list_error_code),
        )

    @cached_property
    def push_faults(self) -> tuple[tuple[FaultKind, float], ...]:
        """The faults that come at a rate, for pushes."""
        return (
            (FaultKind.UNAVAILABLE, self.push_503),
            (FaultKind.HANG, self.push_hang),
            (FaultKind.DROP, self.push_drop),
            (FaultKind.MALFORMED, self.push_malformed),
        )

    @model_validator(mode="after")
    def _rates_fit(self) -> Self:
        for rates in (self.listing_faults, self.push_faults):
            if sum(rate for _, rate in rates) > 1:
                raise ValueError("the rates of faults add up to more than 1; lower one of them")
        return self


class MockSettings(BaseModel, extra="forbid", frozen=True):
    """The whole document. In `clients`, each entry needs only what differs from `everyone`."""

    seed: int = Field(0, description="what all randomness and all campaigns come from")
    token_lifetime_s: int = Field(3600, ge=1, description="life of an access token")
    platform_quota_requests: int = Field(0, ge=0, description="requests that all client ids share per window; 0: any")
    platform_quota_window_s: float = Field(60, gt=0, description="that window, in seconds; counted as for everyone")
    accounts: dict[str, PlatformAccount] = {
        "demo@example.com": PlatformAccount(password="demo", clients=frozenset({"default"}))  # noqa: S106 - the mock's own
    }
    everyone: Behaviour = Behaviour()
    clients: dict[str, Behaviour] = {}
    apis: dict[str, ApiDescription] = Field({}, description="further APIs, each below a path of its name")

    @model_validator(mode="before")
    @classmethod
    def _lay_clients_over_everyone(cls, document: JsonValue) -> JsonValue:
        if not isinstance(document, dict) or not isinstance(clients := document.get("clients"), dict):
            return document
        everyone = document.get("everyone")
        return document | {"clients": {name: merge_patch(everyone, own) for name, own in clients.items()}}

    @cached_property
    def shared(self) -> MeteredQuota | None:
        """The platform's quota for all client ids together."""
        requests = self.platform_quota_requests
        return MeteredQuota(requests, self.platform_quota_window_s) if requests else None

    def behaviour(self, client_id: str) -> Behaviour:
        """Return the behaviour towards `client_id`."""
        return self.clients.get(client_id, self.everyone)


def merge_patch(target: JsonValue, patch: JsonValue) -> JsonValue:
    """Return `target` with `patch` merged into it (RFC 7396): objects merge, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
