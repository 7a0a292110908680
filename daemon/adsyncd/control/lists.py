"""The endpoints of /v1 that look at all tenants."""

from datetime import UTC, datetime

from adsyncd.control import wire
from adsyncd.control.attention import Overview
from adsyncd.control.endpoint import Asked, Endpoint
from adsyncd.control.overview import Bucket, Cause, QuotaRow
from adsyncd.control.paging import Listed
from adsyncd.duration import parse_duration
from adsyncd.model.status import DaemonStatus, TenantStatus


async def _tenants(overview: Overview, asked: Asked) -> Listed[TenantStatus]:
    query: wire.TenantsQuery = asked.query
    worst = query.sort == "worst"
    return await overview.listed(query.selection, worst=worst, limit=query.limit, after=query.after)


async def _names(overview: Overview, asked: Asked) -> Listed[str]:
    query: wire.NamesQuery = asked.query
    return await overview.names(query.selection, query.limit, query.after)


async def _alerts(overview: Overview, asked: Asked) -> Listed[wire.AlertAnswer]:
    page = overview.alerts(asked.query.limit, asked.query.after)
    return Listed([wire.AlertAnswer.model_validate(alert) for alert in page.items], page.next)


async def _history(overview: Overview, asked: Asked) -> list[Bucket]:
    query: wire.HistoryQuery = asked.query
    return overview.history(query.since or datetime.min.replace(tzinfo=UTC), parse_duration(query.bucket))


async def _quotas(overview: Overview, asked: Asked) -> Listed[QuotaRow]:
    page = await overview.quotas(asked.query.limit, asked.query.after)
    answer = wire.QuotasAnswer(
        platforms=page.platforms, tenants=page.rows, total=page.total, over=page.over, close=page.close
    )
    return Listed(page.rows, page.next, body=answer)


LISTS: tuple[Endpoint[Overview], ...] = (
    Endpoint(
        "GET",
        "/v1/status",
        "The daemon's status",
        DaemonStatus,
        lambda overview, _: overview.daemon(),
    ),
    Endpoint(
        "GET",
        "/v1/tenants",
        "The status of tenants, sorted by id or the worst first",
        list[TenantStatus],
        _tenants,
        query=wire.TenantsQuery,
    ),
    Endpoint(
        "GET",
        "/v1/names",
        "The ids of tenants, sorted",
        list[str],
        _names,
        query=wire.NamesQuery,
    ),
    Endpoint(
        "GET",
        "/v1/causes",
        "What is wrong: the tenants with the same trouble for the same reason, the worst first",
        list[Cause],
        lambda overview, asked: overview.causes_of(asked.query.selection),
        query=wire.SelectionQuery,
    ),
    Endpoint(
        "GET",
        "/v1/alerts",
        "The alerts that fire, sorted by tenant",
        list[wire.AlertAnswer],
        _alerts,
        query=wire.PageQuery,
    ),
    Endpoint(
        "GET",
        "/v1/history",
        "What the runs of all tenants did in the last 24 hours, oldest first",
        list[Bucket],
        _history,
        query=wire.HistoryQuery,
    ),
    Endpoint(
        "GET",
        "/v1/quotas",
        "How much of their quotas platforms and client ids need and use, those nearest to their limits first",
        wire.QuotasAnswer,
        _quotas,
        query=wire.PageQuery,
    ),
)
