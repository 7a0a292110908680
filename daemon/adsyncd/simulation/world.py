"""What happens in a simulation, all of it decided before it begins: values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from adsyncd.model.tenant import CredentialsRef, Tenant
from adsyncd.simulation.network import Link
from mock_api.campaigns import campaign_id


class End(StrEnum):
    """How a life of the daemon ends: of its own accord, by kill -9, or with the machine that it runs on."""

    STOP = "stop"
    KILL = "kill"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the daemon: the tenants of its drop-ins, how long it lasts, and for how long nothing follows.

    Unless it `catches_up` it begins as if nobody had missed a run. `guest`: from when to when, from its beginning, an
    operator runs tenants by a process of his own, until it is killed.
    """

    tenants: tuple[Tenant, ...]
    lasts_s: float
    end: End = End.STOP
    down_s: float = 0.0
    catches_up: bool = True
    guest: "Span | None" = None


@dataclass(frozen=True, slots=True)
class PlatformChange:
    """A change at the platform at `base_url`: `settings` are merged into its own.

    `passwords` are those of accounts from then on, by email: Vault has them at the same instant.
    """

    at_s: float
    base_url: str
    settings: Mapping[str, object]
    passwords: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock is set `by_s` forward, or back."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    from_s: float
    to_s: float

    def holds(self, at_s: float) -> bool:
        """Say whether an instant is in it."""
        return self.from_s <= at_s < self.to_s

    def overlaps(self, other: "Span") -> bool:
        """Say whether the two have an instant in common."""
        return self.from_s <= other.to_s and other.from_s <= self.to_s


@dataclass(frozen=True, slots=True)
class CampaignTimeline:
    """Which campaigns a client id has, over time: (since when, how many ids were ever used, which of them are gone)."""

    states: tuple[tuple[float, int, frozenset[str]], ...]

    def at(self, at_s: float) -> frozenset[str]:
        """Return the ids of the campaigns that are there at an instant."""
        _, count, gone = [state for state in self.states if state[0] <= at_s][-1]
        return frozenset(map(campaign_id, range(1, count + 1))) - gone

    def throughout(self, span: Span) -> frozenset[str]:
        """Return the ids of the campaigns that are there all the time."""
        there = self.at(span.from_s)
        for since_s, _, _ in self.states:
            if span.from_s < since_s <= span.to_s:
                there &= self.at(since_s)
        return there


@dataclass(frozen=True, slots=True)
class World:
    """A simulation. Times are in seconds from its start.

    `platforms`: the settings of each by its `base_url`; `cures`: what makes them all well again in the end. `accounts`:
    email and password by the reference that leads to them. `links` and `campaigns` are by client id. `sick`: the
    client ids that something befalls, and what. `unusable`: by client id, campaigns that may be listed without an id
    that can be used. In `outages` Vault can't be read, in `hangs` it does not answer; in `failures` the database fails,
    in `stalls` it stands still, and otherwise it takes `store_s` at most.
    """

    seed: int
    platforms: Mapping[str, Mapping[str, object]]
    accounts: Mapping[CredentialsRef, tuple[str, str]]
    lives: tuple[Life, ...]
    links: Mapping[str, Link]
    campaigns: Mapping[str, CampaignTimeline]
    sick: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changes: tuple[PlatformChange, ...] = ()
    cures: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    jumps: tuple[Jump, ...] = ()
    outages: tuple[Span, ...] = ()
    hangs: tuple[Span, ...] = ()
    failures: tuple[Span, ...] = ()
    stalls: tuple[Span, ...] = ()
    store_s: float = 0.0

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """All tenants, as their drop-ins describe them at the start."""
        return self.lives[0].tenants
