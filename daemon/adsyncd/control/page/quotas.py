"""The view of quotas: what the schedules need and use of each, platforms on top, the nearest to its limit first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.control.overview import PlatformRow, QuotaRow, QuotasPage
from adsyncd.control.page.frame import Notice, notices
from adsyncd.control.page.tenants import Quota, quota
from adsyncd.control.page.trail import FIRST, Pager, Trail
from adsyncd.control.page.words import Foreign, foreign, free, number, several, took
from adsyncd.model.status import DaemonStatus


@dataclass(frozen=True, slots=True)
class PlatformItem:
    """A platform, its own quota if it has one, and its open circuit breaker."""

    name: str
    quota: str
    load: Quota | None
    free: str
    breaker: str


@dataclass(frozen=True, slots=True)
class QuotaItem:
    """A row of the table."""

    tenant: str
    client_id: Foreign
    load: Quota | None
    quota: str
    free: str
    waited: str
    refused: int
    schedule: str
    fixes: Sequence[str]


@dataclass(frozen=True, slots=True)
class QuotasView:
    """The values of the template."""

    sentence: str
    notices: Sequence[Notice]
    platforms: Sequence[PlatformItem]
    rows: Sequence[QuotaItem]
    pager: Pager | None


def quotas_view(daemon: DaemonStatus, page: QuotasPage, now: datetime, *, trail: Trail = FIRST) -> QuotasView:
    """Return the values of the page of quotas."""
    return QuotasView(
        sentence=_sentence(page),
        notices=notices(daemon, now),
        platforms=[_platform(one) for one in page.platforms],
        rows=[_row(one) for one in page.rows],
        pager=trail.pager("/quotas", {}, shown=len(page.rows), total=page.total, following=page.next),
    )


def _sentence(page: QuotasPage) -> str:
    if not page.total:
        return "No tenant has a quota yet."
    close = f"{number(page.close)} {'is' if page.close == 1 else 'are'} close"
    if page.over:
        have = "has" if page.over == 1 else "have"
        more = f", {close}" if page.close else ""
        return f"{number(page.over)} of {several(page.total, 'tenant')} {have} too little quota{more}."
    if page.close:
        return f"Every tenant has enough quota, {close}."
    return "Every tenant has enough quota."


def _platform(one: PlatformRow) -> PlatformItem:
    tenants = several(one.tenants, "tenant")
    return PlatformItem(
        name=one.platform,
        quota=f"{one.quota}, for its {tenants} together" if one.quota else f"no quota of its own, {tenants}",
        load=quota(one.load, 210),
        free="" if one.free is None else free(one.free),
        breaker=one.breaker or "",
    )


def _row(one: QuotaRow) -> QuotaItem:
    return QuotaItem(
        tenant=one.tenant,
        client_id=foreign(one.client_id, 40),
        load=quota(one.load, 150),
        quota=one.quota,
        free=free(one.free),
        waited=took(one.waited_s),
        refused=one.refused,
        schedule=one.schedule,
        fixes=one.fixes,
    )
