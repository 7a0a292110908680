"""The description of a simulation, decided before it starts: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from adsyncd.model.tenant import CredentialsRef, Tenant
from adsyncd.simulation.network import Link
from mock_api.campaigns import campaign_id

OLD, NEW = "old-password", "new-password"


def secrets_of(email: str, password: str) -> dict[str, str]:
    """Return all that an account signs in with, by the names of secrets; a new password makes all else new, too."""
    return {
        "email": email,
        "password": password,
        "client_id": f"id-of-{email}",
        "client_secret": f"secret-{password}-of-{email}",
        "refresh_token": f"1//refresh-{password}-of-{email}",
        "app_key": f"key-{password}-of-{email}",
    }


class End(StrEnum):
    """How a life of the daemon ends: by a clean stop, by kill -9, or by a reboot of the machine."""

    STOP = "stop"
    KILL = "kill"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the daemon: its tenants, its duration, and the downtime after it.

    With `catches_up` it makes up for missed runs. `guest`: from when to when, from the life's beginning, an operator
    runs tenants with a second process, until that is killed.
    """

    tenants: tuple[Tenant, ...]
    lasts_s: float
    end: End = End.STOP
    down_s: float = 0.0
    catches_up: bool = True
    guest: "Span | None" = None


@dataclass(frozen=True, slots=True)
class PlatformChange:
    """A change of the platform at `base_url`: `settings` are merged into its own.

    `passwords`: new passwords by email; Vault has them at the same instant.
    """

    at_s: float
    base_url: str
    settings: Mapping[str, object]
    passwords: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jump:
    """Sets the wall clock forward or back `by_s`."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """A time span."""

    from_s: float
    to_s: float

    def holds(self, at_s: float) -> bool:
        """Return whether an instant is in it."""
        return self.from_s <= at_s < self.to_s

    def overlaps(self, other: "Span") -> bool:
        """Return whether the two have an instant in common."""
        return self.from_s <= other.to_s and other.from_s <= self.to_s


@dataclass(frozen=True, slots=True)
class CampaignTimeline:
    """A client id's campaigns over time: (since when, number of ids ever used, deleted ids)."""

    states: tuple[tuple[float, int, frozenset[str]], ...]

    def at(self, at_s: float) -> frozenset[str]:
        """Return the ids of the campaigns that exist at an instant."""
        _, count, gone = [state for state in self.states if state[0] <= at_s][-1]
        return frozenset(map(campaign_id, range(1, count + 1))) - gone

    def throughout(self, span: Span) -> frozenset[str]:
        """Return the ids of the campaigns that exist throughout a span."""
        there = self.at(span.from_s)
        for since_s, _, _ in self.states:
            if span.from_s < since_s <= span.to_s:
                there &= self.at(since_s)
        return there


@dataclass(frozen=True, slots=True)
class World:
    """A simulation. Times are in seconds from its start.

    `platforms`: settings by `base_url`; `cures`: settings that end all faults. `accounts`: email and password by
    credentials reference. `links` and `campaigns` are by client id. `sick`: faults by client id. `unusable`: by client
    id, campaigns that may be listed without a usable id. In `outages` Vault is sealed, in `hangs` it does not answer;
    in `failures` the database fails, in `stalls` it does not answer, and otherwise it takes at most `store_s`.
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
        """All tenants, as in the drop-ins at the start."""
        return self.lives[0].tenants
