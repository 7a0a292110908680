"""Quotas, as plain values: the requests that a platform allows.

Where a platform meters by operation, a request takes several permits of each window: its cost. Then the `requests` of a
quota are permits.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Shape(StrEnum):
    """How permits are granted: in a `BURST` as they return, or `PACED` evenly over the window.

    `AUTO` is a burst until repeated refusals prove that the platform accepts only spaced requests.
    """

    AUTO = "auto"
    BURST = "burst"
    PACED = "paced"


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` in any `per`."""

    requests: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `requests` in any `per`, and at most what each window of `also` allows.

    `arrival_bound`: the platform counts a request within this time after it was fully written, however late it answers;
    None if unknown.
    """

    requests: int
    per: timedelta
    shape: Shape = Shape.AUTO
    arrival_bound: timedelta | None = None
    also: tuple[Window, ...] = ()

    @property
    def windows(self) -> tuple[Window, ...]:
        """All windows; a request counts in each of them."""
        return Window(self.requests, self.per), *self.also


@dataclass(frozen=True, slots=True)
class ClientQuota:
    """All that limits the requests of one client id of a platform.

    `platform_quota`: shared by all client ids of the platform, or None. `weight`: the client id's share of it, relative
    to the others. `timeout`: the longest time that a request takes. `costs`: the fewest and the most permits of each
    window that one takes.
    """

    platform: str
    client_id: str
    quota: Quota
    platform_quota: Quota | None
    weight: int
    timeout: timedelta
    costs: tuple[int, int] = (1, 1)
