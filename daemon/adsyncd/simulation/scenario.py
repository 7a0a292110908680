"""Draws a world from a seed: its tenants, and the faults of their platform, Vault, the clock and the daemon."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from random import Random

from adsyncd.config import TenantFile
from adsyncd.config.profile_file import shipped_profile
from adsyncd.config.tenant_file import ScheduleTable
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.rate.quota import Quota, Shape, Window
from adsyncd.simulation.behaviours import FLAKY, HEALTHY, ODD
from adsyncd.simulation.network import Link
from adsyncd.simulation.pulling import EMAIL, ORBIT_URL, Puller
from adsyncd.simulation.world import NEW, OLD, CampaignTimeline, End, Jump, Life, PlatformChange, Span, World
from mock_api.campaigns import campaign_id

BASE_URL = "http://ads.simulated"

_FAULTS = ("503", "hang", "drop", "html", "redirect", "unauthorized", "wrong-types", "repeating")
_SICKNESSES = (
    "flaky", "flaky", "flaky", "far", "far", "faulty", "faulty",
    "revoked", "rotated", "mute", "mute", "picky", "absurd",
    "odd", "odd", "collapsing", "collapsing", "shifting",
)  # fmt: skip

_TOTALS = ("right", "right", "right", "absent", "null", "small", "large", "page")

# Algorithms that accept bursts; the fourth one refuses legal bursts, and its clients space their requests.
_ALGORITHMS = ("sliding-log", "fixed-window", "token-bucket")
_HEADERS = ("off", "off", "ietf", "ietf-old", "x-ratelimit", "x-ratelimit-epoch-s", "x-ratelimit-epoch-ms")


def draw_world(
    seed: int, *, tenants: int = 4, hours: float = 1.0, sick: float = 0.5, shared: float = 0.4, second: float = 0.35
) -> World:
    """Return the world of a seed: so many tenants of one platform, and perhaps one that pulls from another.

    `sick`: the share of tenants with a fault. `shared`: the share of worlds whose platform has a quota of its own.
    `second`: the share of worlds with a second platform.
    """
    world = _Scenario(seed, tenants, hours * 3600, sick, shared).world()
    has_second = Random(f"{seed}/second").random() < second  # noqa: S311 - a simulation
    return _with(Puller(seed, hours * 3600, sick), world) if has_second else world


def _with(puller: Puller, world: World) -> World:
    """Return the world with a second platform and its tenant."""
    id_, tenant = puller.tenant.client_id, puller.tenant
    return replace(
        world,
        platforms={**world.platforms, ORBIT_URL: puller.platform()},
        accounts={**world.accounts, tenant.credentials: (EMAIL, OLD)},
        lives=tuple(puller.joins([*world.lives])),
        links={**world.links, id_: puller.link},
        campaigns={**world.campaigns, id_: puller.timeline},
        sick={**world.sick, id_: puller.sickness} if puller.sickness else world.sick,
        unusable={**world.unusable, id_: puller.unusable},
        changes=tuple(sorted([*world.changes, *puller.changes], key=lambda change: change.at_s)),
        cures={**world.cures, ORBIT_URL: puller.cure()},
    )


class _Scenario:
    def __init__(self, seed: int, tenants: int, lasts_s: float, sick: float, shared: float) -> None:
        self._random = Random(seed)  # noqa: S311 - a simulation
        self._seed = seed
        self._lasts_s = lasts_s
        self._ids = [f"tenant-{number}" for number in range(tenants)]
        self._sick = {id_: self._random.choice(_SICKNESSES) for id_ in self._ids if self._random.random() < sick}
        self._changes: list[PlatformChange] = []
        self._unusable: dict[str, frozenset[str]] = {}
        quota = self._shared() if self._random.random() < shared else None
        self._platform = Platform("simulated", BASE_URL, shipped_profile(), quota)

    def world(self) -> World:
        random = self._random
        tenants = {id_: self._tenant(id_) for id_ in self._ids}
        campaigns = {id_: self._timeline(id_) for id_ in self._ids}
        clients = {id_: self._behaviour(id_, tenants[id_].quota, campaigns[id_]) for id_ in self._ids}
        for id_, sickness in self._sick.items():
            self._make_sick(id_, sickness)
            self._spoil_listings(id_, sickness, campaigns[id_])
        return World(
            seed=self._seed,
            platforms={
                BASE_URL: {
                    "seed": self._seed,
                    "token_lifetime_s": random.randint(200, 3600),
                    "accounts": {_email(id_): {"password": OLD, "clients": [id_]} for id_ in self._ids},
                    "clients": clients,
                    **self._shared_as_json(),
                }
            },
            accounts={tenant.credentials: (_email(id_), OLD) for id_, tenant in tenants.items()},
            lives=tuple(self._lives(tenants)),
            links={id_: self._link(id_, tenants[id_].quota) for id_ in self._ids},
            campaigns=campaigns,
            sick=self._sick,
            unusable=self._unusable,
            changes=tuple(sorted(self._changes, key=lambda change: change.at_s)),
            cures={
                BASE_URL: {
                    "clients": dict.fromkeys(self._ids, HEALTHY),
                    "accounts": {_email(id_): {"silent": False} for id_ in self._ids},
                }
            },
            jumps=tuple(self._jumps()),
            outages=tuple(self._spans(0.5, 600)),
            hangs=tuple(self._spans(0.3, 300)),
            failures=tuple(self._spans(0.3, 60)),
            stalls=tuple(self._spans(0.3, 30)),
            store_s=random.choice((0.0, 0.01, 0.1)),
        )

    def _tenant(self, id_: str) -> Tenant:
        random = self._random
        described = TenantFile.model_validate(
            {
                "client_id": id_,
                "platform": "simulated",
                "schedule": self._schedule(),
                "credentials": {"vault": f"adsyncd/{id_}"},
                "quota": {
                    "requests": random.randint(3, 12),
                    "per": random.choice(("20s", "30s", "60s")),
                    "shape": random.choices(("auto", "paced"), (0.85, 0.15))[0],
                    "also": random.choices(([], [{"requests": random.randint(25, 50), "per": "5m"}]), (0.7, 0.3))[0],
                },
                "weight": random.randint(1, 3),
                "sync": {
                    "page_size": random.choice((3, 5, 10)),
                    "concurrency": random.choice((1, 3, 5)),
                    "timeout": random.choice(("5s", "10s")),
                    "max_attempts": random.randint(2, 5),
                    "run_deadline": "20m" if self._sick.get(id_, "odd") == "odd" else random.choice(("3m", "10m")),
                    "push": random.choice(("all", "changed")),
                    "list_cache": random.choice(("0s", "0s", "12m")),
                },
            }
        )
        return described.tenant(id_, self._platform)

    def _schedule(self) -> dict[str, str]:
        if self._random.random() < 0.2:  # noqa: PLR2004 - a share
            return {"cron": f"*/{self._random.choice((6, 10, 15))} * * * *", "timezone": "Europe/Berlin"}
        return {"every": self._random.choice(("6m", "8m", "10m", "15m"))}

    def _behaviour(self, id_: str, quota: Quota, timeline: CampaignTimeline) -> dict[str, object]:
        random = self._random
        _, count, _ = timeline.states[0]
        return {
            **HEALTHY,
            "campaigns": count,
            "quota_requests": quota.requests,
            "quota_window_s": quota.per.total_seconds(),
            "quotas": [{"requests": one.requests, "window_s": one.per.total_seconds()} for one in quota.also],
            "algorithm": "window-counter" if quota.shape is Shape.PACED else random.choice(_ALGORITHMS),
            "ratelimit_headers": random.choice(_HEADERS),
            "retry_after": random.choice(("seconds", "date", "body", "absent")),
            "total": random.choice(_TOTALS),
            "etag": random.random() < 0.5,  # noqa: PLR2004 - a share
            "list_latency_s": random.choice((0.0, 0.5)),
            "push_latency_s": random.choice((0.5, 2.0)),
            "latency_jitter": 0.5,
            "rejected": [campaign_id(1)] if self._sick.get(id_) == "picky" else [],
        }

    def _timeline(self, id_: str) -> CampaignTimeline:
        """Add or delete campaigns, never both: no listing shows both if they happen while it is read."""
        random = self._random
        count, gone = random.randint(2, 14), frozenset[str]()
        states = [(0.0, count, gone)]
        for at_s in self._instants(random.randint(0, 2)):
            if self._only_gains(id_):
                count += random.randint(1, 3)
            else:
                gone |= {campaign_id(random.randint(1, count))}
            states.append((at_s, count, gone))
            self._change(id_, at_s, {"campaigns": count, "deleted": sorted(gone)})
        return CampaignTimeline(tuple(states))

    def _only_gains(self, id_: str) -> bool:
        return self._ids.index(id_) < len(self._ids) // 2

    def _shared(self) -> Quota:
        return Quota(self._random.randint(8, 20), timedelta(seconds=self._random.choice((20, 60))))

    def _shared_as_json(self) -> dict[str, object]:
        quota = self._platform.quota
        if quota is None:
            return {}
        return {"platform_quota_requests": quota.requests, "platform_quota_window_s": quota.per.total_seconds()}

    def _link(self, id_: str, quota: Quota) -> Link:
        # A link with high jitter would undo the spacing.
        longest_s = 0.1 if quota.shape is Shape.PACED else self._random.choice((0.1, 0.4, 1.0))
        if self._sick.get(id_) == "far":
            return Link(0.02, longest_s, unreachable=0.1, lost=0.05)
        return Link(0.02, longest_s)

    def _make_sick(self, id_: str, sickness: str) -> None:
        """Make a fault begin and end."""
        begins_s, ends_s = self._instants(2)
        match sickness:
            case "flaky":
                self._change(id_, begins_s, FLAKY)
            case "faulty":
                # An endless listing has deleted campaigns, so its pages could add up although one is missed.
                faults = (*_FAULTS, "endless") if self._only_gains(id_) else _FAULTS
                self._change(id_, begins_s, {"fault": self._random.choice(faults)})
            case "absurd":
                self._change(id_, begins_s, {"fault": "absurd-wait"})
            case "mute":  # sign-ins hang, from the start or after its tokens are revoked
                begins_s = self._random.choice((0.0, begins_s))
                self._account(id_, begins_s, {"generation": 1, "silent": True})
                self._account(id_, ends_s, {"silent": False})
            case "revoked":
                self._account(id_, begins_s, {"generation": 1})
            case "rotated":
                account = {"generation": 1, "password": NEW}
                passwords = {_email(id_): NEW}
                self._changes.append(
                    PlatformChange(begins_s, BASE_URL, {"accounts": {_email(id_): account}}, passwords)
                )
        if sickness in {"flaky", "faulty", "absurd"}:
            self._change(id_, ends_s, HEALTHY)

    def _spoil_listings(self, id_: str, sickness: str, timeline: CampaignTimeline) -> None:
        """Make listings wrong: permanently, or twice for a while."""
        _, count, _ = timeline.states[0]
        early_s = self._random.uniform(0, self._lasts_s / 2)
        match sickness:
            case "odd":
                odd = [(campaign_id(number), self._random.choice(ODD)) for number in range(1, count + 1, 2)]
                self._unusable[id_] = frozenset(campaign for campaign, values in odd if "id" in values)
                self._change(id_, early_s, {"odd": odd})
            case "shifting":
                self._change(id_, early_s, {"shifting": True})
            case "collapsing":
                for at_s, spell in zip(self._instants(4), (self._collapse(count), HEALTHY) * 2, strict=True):
                    self._change(id_, at_s, spell)

    def _collapse(self, count: int) -> Mapping[str, object]:
        """Return settings with which listings leave out some, most or all campaigns."""
        if self._random.random() < 0.4:  # noqa: PLR2004 - a share
            return {"fault": "empty"}
        hidden = self._random.sample(range(1, count + 1), self._random.randint(1, count))
        return {"hidden": [campaign_id(number) for number in sorted(hidden)]}

    def _lives(self, tenants: Mapping[str, Tenant]) -> Iterator[Life]:
        """Divide the time into lives. Drop-ins are edited between them."""
        random = self._random
        ends_s = [*self._instants(random.randint(1, 6)), self._lasts_s]
        begins_s = 0.0
        described = dict(tenants)
        for end_s in ends_s:
            down_s = random.choice((0.0, random.uniform(0, 5), random.uniform(0, 120)))
            how = random.choice((End.STOP, End.KILL, End.KILL, End.KILL, End.REBOOT))
            lasts_s = end_s - begins_s
            yield Life(tuple(described.values()), lasts_s, how, down_s, guest=self._guest(lasts_s, how, down_s))
            begins_s = end_s
            if random.random() < 0.5:  # noqa: PLR2004 - a share
                id_ = random.choice(self._ids)
                if described.pop(id_, None) is None or random.random() < 0.8:  # noqa: PLR2004 - a share
                    described[id_] = self._edited(tenants[id_])

    def _guest(self, lasts_s: float, how: End, down_s: float) -> Span | None:
        """Let an operator's process run now and then; it ends before a reboot and before the end of a clean stop."""
        if self._random.random() > 0.25:  # noqa: PLR2004 - a share
            return None
        begins_s = self._random.uniform(0, lasts_s)
        return Span(begins_s, self._random.uniform(begins_s, lasts_s + (down_s if how is End.KILL else 0.0)))

    def _edited(self, tenant: Tenant) -> Tenant:
        """Return a tenant with another schedule and a quota that the platform allows."""
        random = self._random
        allowed = tenant.quota
        quota = replace(allowed, requests=random.randint((allowed.requests + 1) // 2, allowed.requests))
        if random.random() < 0.3:  # noqa: PLR2004 - a share
            also = Window(allowed.requests, allowed.per), *allowed.also
            quota = replace(allowed, requests=max(1, allowed.requests // 2), per=allowed.per / 2, also=also)
        return replace(
            tenant,
            schedule=ScheduleTable.model_validate(self._schedule()).schedule(),
            quota=quota,
            sync=replace(tenant.sync, concurrency=random.choice((1, 3, 5)), page_size=random.choice((3, 5, 10))),
        )

    def _jumps(self) -> Iterator[Jump]:
        for at_s in self._instants(self._random.choice((0, 0, 1, 2))):
            yield Jump(at_s, self._random.choice((-3600.0, -90.0, -1.0, 1.0, 90.0, 3600.0)))

    def _spans(self, probability: float, longest_s: float) -> Iterator[Span]:
        if self._random.random() < probability:
            [begins_s] = self._instants(1)
            yield Span(begins_s, begins_s + self._random.uniform(0, longest_s))

    def _instants(self, number: int) -> list[float]:
        return sorted(self._random.uniform(0, self._lasts_s) for _ in range(number))

    def _account(self, id_: str, at_s: float, settings: Mapping[str, object]) -> None:
        self._changes.append(PlatformChange(at_s, BASE_URL, {"accounts": {_email(id_): settings}}))

    def _change(self, id_: str, at_s: float, behaviour: Mapping[str, object]) -> None:
        self._changes.append(PlatformChange(at_s, BASE_URL, {"clients": {id_: behaviour}}))


def _email(id_: str) -> str:
    return f"{id_}@example.com"
