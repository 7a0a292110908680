"""Commands to many tenants, and what became of each of them: types of the control API."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from adsyncd.control import paging
from adsyncd.control.problem import Answer
from adsyncd.control.wire import All, Order, SomeText, TenantId
from adsyncd.errors import CommandRefused
from adsyncd.model.selection import Selection, Show
from adsyncd.model.status import listed

_MOST_NAMED = 20  # ids in a log line


class Effect(StrEnum):
    """The outcome of a command for one tenant. `UNCHANGED`: it was so before."""

    DONE = "done"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class TenantOutcome(Answer):
    """The outcome of a command for one tenant. `error` is the reason of a refusal, and `fix` the way out, if known."""

    tenant: str
    outcome: Effect
    error: str | None = None
    fix: str | None = None


class Conditions(Order):
    """The tenants that satisfy each of these conditions, of which there is one at least.

    `state`: one of these kinds; `match`: a shell pattern of the id; `q`: a part of the id or the client id.
    """

    state: Annotated[tuple[Show, ...], Field(min_length=1, max_length=len(Show))] | None = None
    platform: SomeText | None = None
    match: SomeText | None = None
    q: SomeText | None = None

    @property
    def selection(self) -> Selection:
        """The selected tenants. Raises CommandRefused if there is no condition."""
        selection = Selection(frozenset(self.state or ()), self.platform, self.match, self.q)
        if selection.everything:
            raise CommandRefused("a selection without a condition selects nothing", 'for all write {"all": true}')
        return selection


class Named(Order):
    """The tenants with these ids."""

    ids: Annotated[tuple[TenantId, ...], Field(min_length=1, max_length=paging.MOST_NAMES)]


class Selected(Order):
    """The tenants that are selected when the daemon takes the command."""

    selection: Conditions


class TenantsOrder(Order):
    """A command to some tenants, or to all; `dry_run` only says what it would do."""

    tenants: Named | Selected | All
    dry_run: bool = False

    def noted(self) -> dict[str, object]:
        """Return the command's tenants as the log has them."""
        dry = {"dry_run": True} if self.dry_run else {}
        match self.tenants:
            case Named(ids=ids):
                return {"tenants": listed(ids, most=_MOST_NAMED), **dry}
            case Selected(selection=conditions):
                return {"tenants": conditions.model_dump(mode="json", exclude_none=True), **dry}
        return {"tenants": "all", **dry}


class CancelsOrder(TenantsOrder):
    """The end of some tenants' runs in progress; `resumable` leaves them open, so that the next runs resume them."""

    resumable: bool = False

    def noted(self) -> dict[str, object]:
        """Return the command's tenants as the log has them."""
        return {**super().noted(), **({"resumable": True} if self.resumable else {})}


def sums(outcomes: Iterable[TenantOutcome]) -> dict[str, int]:
    """Return how many tenants there are of each outcome."""
    found = dict.fromkeys(Effect, 0)
    for one in outcomes:
        found[one.outcome] += 1
    return {str(effect): number for effect, number in found.items()}
