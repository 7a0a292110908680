"""The campaigns of a client id, the same for the same seed: nothing is stored.

Ids are the same for every client id and contents are not, so that a client that mixes up its tenants is found out.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pydantic import JsonValue

from mock_api.faults import FaultKind
from mock_api.settings import Behaviour, Total

_PREFIX = "cmp-"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def campaign_id(number: int) -> str:
    """Return the id of a client id's `number`th campaign, counted from 1."""
    return f"{_PREFIX}{number:04d}"


@lru_cache(maxsize=100_000)
def campaign(seed: int, client_id: str, number: int, revision: int) -> dict[str, JsonValue]:
    """Return a campaign as it is listed (not to be changed); another `revision` has other figures."""
    identity = random.Random(f"{seed}/{client_id}/{number}")  # noqa: S311 - made-up campaigns
    figures = random.Random(f"{seed}/{client_id}/{number}/{revision}")  # noqa: S311 - made-up campaigns
    impressions = figures.randrange(1_000, 1_000_000)
    clicks = figures.randrange(impressions // 10)
    return {
        "id": campaign_id(number),
        "name": f"{identity.choice(('Brand', 'Search', 'Retargeting', 'Launch'))} {client_id} {number}",
        "status": figures.choice(("active", "paused")),
        "budget": figures.randrange(10_000, 1_000_000) / 100,
        "impressions": impressions,
        "clicks": clicks,
        "conversions": clicks // 20,
        "created_at": (_EPOCH + timedelta(minutes=identity.randrange(60 * 24 * 200))).isoformat(),
    }


@dataclass(frozen=True, slots=True)
class SomeCampaigns:
    """A part of a listing. `total`: what it claims to have in all, empty if it claims nothing."""

    campaigns: Sequence[dict[str, JsonValue]]
    has_more: bool
    total: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All campaigns of one client id."""

    seed: int
    client_id: str
    behaviour: Behaviour
    moved: int = 0
    """How many campaigns have moved from the beginning of the listing to its end."""

    def __contains__(self, wanted: str) -> bool:
        """Tell whether there is a campaign with this id."""
        number = wanted.removeprefix(_PREFIX)
        if not number.isdecimal() or wanted != campaign_id(int(number)) or wanted in self.behaviour.deleted:
            return False
        return self.behaviour.fault is FaultKind.ENDLESS or 1 <= int(number) <= self.behaviour.campaigns

    def page(self, number: int, limit: int) -> dict[str, JsonValue]:
        """Return the answer to a listing of page `number` (from 1) with `limit` campaigns a page."""
        some = self.some((number - 1) * limit, limit)
        return {
            "data": [*some.campaigns],
            "pagination": {"page": number, "limit": limit, **some.total, "has_more": some.has_more},
        }

    def some(self, first: int, limit: int) -> "SomeCampaigns":
        """Return `limit` campaigns, after the `first` ones of the listing."""
        present = self._present()
        numbers, has_more = present[first : first + limit], first + limit < len(present)
        if self.behaviour.fault is FaultKind.ENDLESS:
            numbers, has_more = range(first + 1, first + limit + 1), True
        elif self.behaviour.fault is FaultKind.REPEATING:
            numbers, has_more = present[:limit], True
        campaigns = [self._campaign(number) for number in numbers]
        return SomeCampaigns(campaigns, has_more, self._total(len(present), len(numbers)))

    def _present(self) -> Sequence[int]:
        every: Sequence[int] = range(1, self.behaviour.campaigns + 1)
        if self.behaviour.fault is FaultKind.EMPTY:
            return ()
        if left_out := self.behaviour.deleted | self.behaviour.hidden:
            every = [number for number in every if campaign_id(number) not in left_out]
        turn = self.moved % max(1, len(every))
        return [*every[turn:], *every[:turn]] if turn else every

    def _total(self, present: int, here: int) -> dict[str, JsonValue]:
        match self.behaviour.total:
            case Total.ABSENT:
                return {}
            case Total.NULL:
                return {"total": None}
            case Total.SMALL:
                return {"total": present // 2}
            case Total.LARGE:
                return {"total": 2 * present}
            case Total.PAGE:
                return {"total": here}
        return {"total": present}

    def _campaign(self, number: int) -> dict[str, JsonValue]:
        revision = self.behaviour.revisions.get(campaign_id(number), 0)
        listed = campaign(self.seed, self.client_id, number, revision)
        return listed | dict(self.behaviour.odd).get(campaign_id(number), {})
