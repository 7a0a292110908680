"""Draws a tenant of a second platform, with another API: it only lists and stores, and pages by cursors.

Its random numbers are its own, so that the rest of a world is the same with it and without it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from random import Random

from adsyncd.config import TenantFile
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.config.tenant_file import ScheduleTable
from adsyncd.model.profile import Profile
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.simulation.behaviours import FLAKY, HEALTHY, ODD
from adsyncd.simulation.network import Link
from adsyncd.simulation.world import NEW, OLD, CampaignTimeline, Life, PlatformChange, secrets_of
from mock_api.campaigns import campaign_id
from mock_api.description import orbit

ORBIT_URL = "http://orbit.simulated/orbit"
ID = "puller"
EMAIL = f"{ID}@example.com"

_SIGN_IN_URL = "http://accounts.simulated/orbit/oauth/token"
_FAULTS = (
    "503", "hang", "drop", "html", "redirect", "unauthorized", "wrong-types", "repeating", "repeating", "endless",
    "error-code", "no-records", "token-in-cursor",
)  # fmt: skip
_SICKNESSES = (
    "flaky", "flaky", "far", "faulty", "faulty", "revoked", "rotated", "mute", "odd", "collapsing", "collapsing",
    "shifting", "lapsing", "lapsing", "lapsing", "circling", "leaking",
)  # fmt: skip

_SPELLS: Mapping[str, Mapping[str, object]] = {
    "flaky": {**FLAKY, "list_error_code": 0.1},
    "circling": {"fault": "repeating"},
    "leaking": {"fault": "token-in-cursor"},
}


@cache
def orbit_profile() -> Profile:
    """Return the profile of the second platform's API."""
    return ProfileFile.model_validate(orbit()).profile("orbit")


class Puller:
    """The tenant, its platform, and what happens to it."""

    def __init__(self, seed: int, lasts_s: float, sick: float) -> None:
        self._random = random = Random(f"{seed}/{ID}")  # noqa: S311 - a simulation
        self._seed = seed
        self._lasts_s = lasts_s
        self.sickness = random.choice(_SICKNESSES) if random.random() < sick else None
        self.changes: list[PlatformChange] = []
        self.unusable: frozenset[str] = frozenset()
        sign_in_url = random.choice((None, _SIGN_IN_URL))
        self._platform = Platform("orbit", ORBIT_URL, orbit_profile(), sign_in_url=sign_in_url)
        self.tenant = self._tenant()
        self.timeline = self._timeline()
        self.link = self._link()
        self._spoil()

    def platform(self) -> dict[str, object]:
        """Return the platform's settings."""
        random, quota = self._random, self.tenant.quota
        return {
            "seed": self._seed,
            "token_lifetime_s": random.randint(100, 1800),
            "apis": {"orbit": orbit()},
            "accounts": {EMAIL: {"password": OLD, "clients": [ID], "secrets": secrets_of(EMAIL, OLD)}},
            "clients": {
                ID: {
                    **HEALTHY,
                    "campaigns": self.timeline.states[0][1],
                    "quota_requests": quota.requests,
                    "quota_window_s": quota.per.total_seconds(),
                    "retry_after": random.choice(("seconds", "date", "body", "absent")),
                    "list_latency_s": random.choice((0.5, 2.0)),
                    "latency_jitter": 0.5,
                }
            },
        }

    def cure(self) -> dict[str, object]:
        """Return the settings that end all faults of the platform."""
        return {"clients": {ID: HEALTHY}, "accounts": {EMAIL: {"silent": False}}}

    def joins(self, lives: list[Life]) -> list[Life]:
        """Return the lives with this tenant; its drop-in is edited between some of them."""
        joined, tenant = [], self.tenant
        for life in lives:
            joined.append(replace(life, tenants=(*life.tenants, tenant)))
            if self._random.random() < 0.3:  # noqa: PLR2004 - a share
                tenant = self._edited()
        return joined

    def _tenant(self) -> Tenant:
        random = self._random
        described = TenantFile.model_validate(
            {
                "client_id": ID,
                "platform": "orbit",
                "schedule": self._schedule(),
                "credentials": {"vault": f"adsyncd/{ID}"},
                "quota": {"requests": random.randint(1, 3), "per": random.choice(("10s", "20s"))},
                "sync": {
                    "page_size": random.choice((2, 3)),
                    "timeout": random.choice(("5s", "10s")),
                    "max_attempts": random.randint(2, 5),
                    "run_deadline": "20m" if self.sickness in {None, "odd"} else random.choice(("3m", "10m")),
                },
            }
        )
        return described.tenant(ID, self._platform)

    def _schedule(self) -> dict[str, str]:
        return {"every": self._random.choice(("6m", "7m", "8m"))}

    def _edited(self) -> Tenant:
        random, allowed = self._random, self.tenant.quota
        return replace(
            self.tenant,
            schedule=ScheduleTable.model_validate(self._schedule()).schedule(),
            quota=Quota(random.randint((allowed.requests + 1) // 2, allowed.requests), allowed.per),
            sync=replace(self.tenant.sync, page_size=random.choice((2, 3))),
        )

    def _timeline(self) -> CampaignTimeline:
        """Add campaigns at the end, or delete some, never both."""
        random = self._random
        count, gone, gains = random.randint(6, 16), frozenset[str](), random.random() < 0.3  # noqa: PLR2004 - a share
        states = [(0.0, count, gone)]
        for at_s in self._instants(random.randint(1, 3)):
            if gains:
                count += random.randint(1, 3)
            else:
                gone |= {campaign_id(random.randint(1, count))}
            states.append((at_s, count, gone))
            self._change(at_s, {"campaigns": count, "deleted": sorted(gone)})
        return CampaignTimeline(tuple(states))

    def _link(self) -> Link:
        longest_s = self._random.choice((0.1, 0.4))
        return Link(0.02, longest_s, 0.1, 0.05) if self.sickness == "far" else Link(0.02, longest_s)

    def _spoil(self) -> None:
        """Make a fault begin and end."""
        random = self._random
        begins_s, ends_s = self._instants(2)
        count = self.timeline.states[0][1]
        match self.sickness:
            case "flaky" | "circling" | "leaking":
                self._spell(begins_s, ends_s, _SPELLS[self.sickness])
            case "faulty":
                # An endless listing has deleted campaigns, so its pages could add up although one is missed.
                faults = [fault for fault in _FAULTS if fault != "endless" or not self.timeline.states[-1][2]]
                self._spell(begins_s, ends_s, {"fault": random.choice(faults)})
            case "lapsing":
                self._change(begins_s / 4, {"cursor_lifetime_s": random.choice((5.0, 15.0, 30.0))})
            case "revoked":
                self._account(begins_s, {"generation": 1})
            case "rotated":
                account = {"generation": 1, "password": NEW, "secrets": secrets_of(EMAIL, NEW)}
                self.changes.append(PlatformChange(begins_s, ORBIT_URL, {"accounts": {EMAIL: account}}, {EMAIL: NEW}))
            case "mute":
                begins_s = random.choice((0.0, begins_s))
                self._account(begins_s, {"generation": 1, "silent": True})
                self._account(ends_s, {"silent": False})
            case "odd":
                odd = [(campaign_id(number), random.choice(ODD)) for number in range(1, count + 1, 2)]
                self.unusable = frozenset(campaign for campaign, values in odd if "id" in values)
                self._change(begins_s / 2, {"odd": odd})
            case "shifting":
                self._change(begins_s / 2, {"shifting": True})
            case "collapsing":
                hidden = random.sample(range(1, count + 1), random.randint(1, count))
                self._spell(begins_s / 2, ends_s, {"hidden": [campaign_id(number) for number in sorted(hidden)]})

    def _spell(self, begins_s: float, ends_s: float, settings: Mapping[str, object]) -> None:
        self._change(begins_s, settings)
        self._change(ends_s, HEALTHY)

    def _instants(self, number: int) -> list[float]:
        return sorted(self._random.uniform(0, self._lasts_s) for _ in range(number))

    def _account(self, at_s: float, settings: Mapping[str, object]) -> None:
        self.changes.append(PlatformChange(at_s, ORBIT_URL, {"accounts": {EMAIL: settings}}))

    def _change(self, at_s: float, behaviour: Mapping[str, object]) -> None:
        self.changes.append(PlatformChange(at_s, ORBIT_URL, {"clients": {ID: behaviour}}))
