"""What a platform allows a client id, as plain values."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Shape(StrEnum):
    """How permits are let out: in a `BURST` as they come back, or `PACED` evenly over the window.

    `AUTO` is a burst, until a client id that keeps being refused proves that its platform counts otherwise.
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
    """What a platform allows: at most `requests` in any `per`, and what the windows `also` say.

    `arrival_bound`: the platform counts a request at most so long after it was fully written, though its answer comes
    later; None where that is not known.
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
    """What bounds the requests of one client id of a platform.

    `platform_quota`: what the platform allows all its client ids together, or None. `weight`: the client id's share of
    that beside the others'. `timeout`: a request takes that long at most.
    """

    platform: str
    client_id: str
    quota: Quota
    platform_quota: Quota | None
    weight: int
    timeout: timedelta
