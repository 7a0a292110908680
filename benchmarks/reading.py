"""The time to read a page, beside the reader that adsyncd had when it knew one API alone.

That one checked a page by a strict pydantic model, and parsed it once more for the payloads. It had no paths, scales or
forms of time. Both read the same pages of the built-in API in one process, in turns; the time is the CPU's, and each
one's best turn counts. The campaigns are compared, too: they have to be the same.

Pages of other platforms have no contender: their profiles are those that adsyncd ships, and their values are text,
nested, or have alternatives.
"""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.campaign import Campaign
from adsyncd.platforms import values
from adsyncd.platforms.reading import Reader
from benchmarks.figures import Figure

SIZES = (10, 100, 1000)
TURNS = 200
AT_MOST = 1.3  # times the strict reader's time
ROWS_A_TURN = 300

_BIGINT = 2**63 - 1
_PLAIN_YEARS = range(1974, 2286)


def _id(value: object) -> object:
    return values.identity(value) if isinstance(value, str | int) else value


def _plain(value: datetime) -> datetime:
    if value.year not in _PLAIN_YEARS:
        raise ValueError
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Count = Annotated[int, Field(ge=-_BIGINT, le=_BIGINT)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Campaign(_Wire):
    id: Annotated[str, BeforeValidator(_id)]
    name: _Text
    status: _Text
    budget: float
    impressions: _Count
    clicks: _Count
    conversions: _Count
    created_at: Annotated[datetime, AfterValidator(_plain)]


class _Pagination(_Wire):
    total: int = Field(ge=0, le=10_000_000)
    has_more: bool


class _Page(_Wire):
    data: list[_Campaign] = Field(fail_fast=True)
    pagination: _Pagination


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def strict(body: bytes) -> tuple[Campaign, ...]:
    page = _Page.model_validate_json(body)
    objects: list[dict[str, Any]] = json.loads(body)["data"]
    return tuple(
        Campaign(
            id=wire.id,
            name=wire.name,
            status=wire.status,
            budget=wire.budget,
            currency=None,
            impressions=wire.impressions,
            clicks=wire.clicks,
            conversions=wire.conversions,
            created_at=wire.created_at,
            payload=_ENCODER.encode(whole),
        )
        for wire, whole in zip(page.data, objects, strict=True)
    )


def of_the_built_in_api(count: int) -> bytes:
    campaigns = [
        {
            "id": f"cmp-{number:05}",
            "name": f"Spring sale {number}",
            "status": "active",
            "budget": 100.5 + number,
            "impressions": number * 10,
            "clicks": number,
            "conversions": number // 3,
            "created_at": "2026-01-02T03:04:05" + ("Z" if number % 2 else "+00:00"),
        }
        for number in range(count)
    ]
    return json.dumps({"data": campaigns, "pagination": {"total": 3 * count, "has_more": True}}).encode()


def of_meta(count: int) -> bytes:
    campaigns = [
        {
            "id": str(120210000000000000 + number),
            "name": f"Spring sale {number}",
            "status": "ACTIVE",
            "objective": "OUTCOME_TRAFFIC",
            ("daily_budget" if number % 2 else "lifetime_budget"): str(5000 + number),
            "created_time": "2026-11-29T09:53:20+0000",
            "updated_time": "2026-11-29T09:53:20+0000",
        }
        for number in range(count)
    ]
    return json.dumps({"data": campaigns, "paging": {"cursors": {"after": "x"}}}).encode()


def of_google_ads(count: int) -> bytes:
    rows = [
        {
            "campaign": {"id": str(number), "name": f"Spring sale {number}", "status": "ENABLED"},
            "campaignBudget": {"amountMicros": str(50_000_000 + number)},
            "customer": {"currencyCode": "EUR"},
            "metrics": {"impressions": "365490", "clicks": "4410"},
        }
        for number in range(count)
    ]
    return json.dumps({"results": rows, "nextPageToken": "x"}).encode()


OTHERS = {"meta": of_meta, "google-ads": of_google_ads}


def measure() -> Sequence[Figure]:
    reader, figures = Reader(shipped_profile()), list[Figure]()
    for size in SIZES:
        body = of_the_built_in_api(size)
        assert reader.read(body, 1).campaigns == strict(body)
        ours, theirs = _best([partial(reader.read, body, 1), partial(strict, body)], size)
        figures += [
            Figure(f"{size:,} campaigns: beside the strict reader", round(ours / theirs, 2), "times", at_most=AT_MOST),
            Figure(f"{size:,} campaigns: each", round(ours / size * 1e6, 1), "us"),
        ]
    for name, made in OTHERS.items():
        other, body = Reader(shipped_profile(name)), made(100)
        assert not other.read(body, 1).odd.count
        [best] = _best([partial(other.read, body, 1)], 100)
        figures.append(Figure(f"100 campaigns of {name}: each", round(best / 100 * 1e6, 1), "us"))
    return figures


def _best(readers: Sequence[Callable[[], object]], size: int) -> list[float]:
    """Return the CPU seconds of each reader's best turn, for one page."""
    best, times = [float("inf")] * len(readers), max(1, ROWS_A_TURN // size)
    for _ in range(TURNS):
        for place, read in enumerate(readers):
            began = time.process_time()
            for _ in range(times):
                read()
            best[place] = min(best[place], (time.process_time() - began) / times)
    return best
