"""What was not pushed: campaigns of a run with their reasons, and reasons that campaigns of several tenants share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.model.campaign import PushState
from adsyncd.model.run import Run

MOST_UNPUSHED = 1000  # campaigns that are kept of one run


@dataclass(frozen=True, slots=True)
class Unpushed:
    """A campaign that a run did not push: its push failed, or it is a dead letter.

    `since`: when its push failed, or when it became a dead letter. `attempts`: of this run, or of the dead letter.
    `name`: as listed last, or None if it has none.
    """

    campaign_id: str
    state: PushState
    reason: str | None
    attempts: int
    since: datetime
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run and the campaigns that it did not push, the latest failure first. `more`: how many others there are.

    Campaigns of a run that was cut short whose push has no outcome are not among them: see `Run.untried`.
    """

    run: Run
    unpushed: Sequence[Unpushed]
    more: int


@dataclass(frozen=True, slots=True)
class SharedReason:
    """How many campaigns were not pushed for one reason. `tenants`: the first ones; `number`: of all tenants.

    `since`: the earliest time.
    """

    reason: str | None
    campaigns: int
    tenants: Sequence[str]
    number: int
    since: datetime


def unpushed_of(run: Run) -> int:
    """Return how many campaigns a run did not push though it tried, or that it skipped as dead letters."""
    return run.failed + run.dead_lettered - run.untried
