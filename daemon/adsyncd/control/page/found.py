"""The view of a search: tenants, campaigns, runs and traces by the text that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.control.page.runs import run_path
from adsyncd.control.page.tenants import tenant_path
from adsyncd.control.page.words import Foreign, When, at, foreign, several
from adsyncd.model.run import Run


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: what it is, its name, and its page."""

    kind: str
    name: str
    href: str
    when: When | None = None


@dataclass(frozen=True, slots=True)
class FoundView:
    """The values of the template."""

    sentence: str
    asked: Foreign
    hits: Sequence[Hit]


def hits(tenants: Sequence[str], campaign_of: Sequence[str], runs: Sequence[Run], now: datetime) -> list[Hit]:
    """Return what was found. `campaign_of`: the tenants that have a campaign with this id."""
    found = [Hit("tenant", one, tenant_path(one)) for one in tenants]
    found += [Hit("tenant with this campaign", one, tenant_path(one)) for one in campaign_of]
    found += [Hit("run", one.run_id, run_path(one.tenant, one.run_id), at(one.fire_time, now)) for one in runs]
    return found


def found_view(asked: str, found: Sequence[Hit]) -> FoundView:
    """Return the values of the page of a search that has no hit or several."""
    if not asked:
        return FoundView("What do you look for?", foreign(""), ())
    sentence = f"{several(len(found), 'hit')}." if found else "Nothing was found."
    return FoundView(sentence, foreign(asked), found)
