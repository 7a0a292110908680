"""Small worlds for the simulator: three tenants for eighteen minutes, with many faults."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from adsyncd.model.tenant import Platform, PushPolicy
from adsyncd.rate.quota import Quota, Window
from adsyncd.simulation.scenario import draw_world
from adsyncd.simulation.world import End, Life, World

_ENDS = {End.STOP: "clean stop", End.KILL: "kill -9", End.REBOOT: "the machine reboots"}
_SICKNESSES = {
    "flaky": "503, no answer, hung up, cut short",
    "far": "no connection, requests lost",
    "faulty": "everything fails in one way",
    "revoked": "tokens revoked",
    "rotated": "password changed",
    "mute": "sign-ins never answered",
    "picky": "a campaign refused",
    "absurd": "429, come again in ten years",
    "odd": "odd campaigns",
    "collapsing": "listings empty, or without some",
    "shifting": "campaigns change places while they are listed",
    "lapsing": "cursors expire",
}


def small_world(seed: int) -> World:
    return draw_world(seed, tenants=3, hours=0.3, sick=0.7)


def one_platform_world(seed: int) -> World:
    """Return a small world without a second platform."""
    return draw_world(seed, tenants=3, hours=0.3, sick=0.7, second=0.0)


def costly_world(seed: int, *, list_cost: int = 2, push_cost: int = 3) -> World:
    """Return a small world whose platform meters by operation. Its quotas are as much larger, and have a remainder."""
    world, most = draw_world(seed, tenants=3, hours=0.3, sick=0.7, second=0.0), max(list_cost, push_cost)

    def permits(requests: int) -> int:
        return most * requests + 1

    def more(quota: Quota) -> Quota:
        also = tuple(Window(permits(window.requests), window.per) for window in quota.also)
        return replace(quota, requests=permits(quota.requests), also=also)

    def platform(described: Platform) -> Platform:
        profile = described.profile
        assert profile.push is not None
        listing, push = replace(profile.listing, cost=list_cost), replace(profile.push, cost=push_cost)
        quota = more(described.quota) if described.quota else None
        return replace(described, profile=replace(profile, listing=listing, push=push), quota=quota)

    def metered(settings: Mapping[str, Any]) -> dict[str, Any]:
        clients = {
            name: {
                **client,
                "list_cost": list_cost,
                "push_cost": push_cost,
                "quota_requests": permits(client["quota_requests"]),
                "quotas": [{**quota, "requests": permits(quota["requests"])} for quota in client["quotas"]],
            }
            for name, client in settings["clients"].items()
        }
        shared = settings.get("platform_quota_requests")
        return {**settings, "clients": clients, **({"platform_quota_requests": permits(shared)} if shared else {})}

    lives = tuple(
        replace(
            life,
            tenants=tuple(
                replace(tenant, platform=platform(tenant.platform), quota=more(tenant.quota)) for tenant in life.tenants
            ),
        )
        for life in world.lives
    )
    return replace(world, lives=lives, platforms={url: metered(each) for url, each in world.platforms.items()})


def pulling_world(seed: int) -> World:
    """Return a world with the tenant that only pulls, whose process is killed before most of its listings end."""
    world = draw_world(seed, tenants=1, hours=0.3, sick=1.0, second=1.0)
    [puller] = [tenant for tenant in world.tenants if tenant.sync.push is PushPolicy.NONE]
    return replace(world, lives=(Life((puller,), 45.0, End.KILL),) * 24, failures=(), stalls=(), jumps=())


def _clients(world: World) -> list[Mapping[str, Any]]:
    return [client for platform in world.platforms.values() for client in cast("Any", platform["clients"]).values()]


def faults_of(world: World) -> Counter[str]:
    """Return the faults of a world, in words, and how often each happens."""
    edited = sum(before.tenants != after.tenants for before, after in zip(world.lives, world.lives[1:], strict=False))
    return Counter(
        {
            **{words: sum(life.end is end for life in world.lives) for end, words in _ENDS.items()},
            "drop-ins edited": edited,
            "totals that lie": sum(client.get("total", "right") != "right" for client in _clients(world)),
            "a second platform, from which a tenant pulls": len(world.platforms) - 1,
            "a second process": sum(life.guest is not None for life in world.lives),
            "clock set forward": sum(jump.by_s > 0 for jump in world.jumps),
            "clock set back": sum(jump.by_s < 0 for jump in world.jumps),
            "Vault sealed": len(world.outages),
            "Vault does not answer": len(world.hangs),
            "database fails": len(world.failures),
            "database stands still": len(world.stalls),
            **{words: list(world.sick.values()).count(sickness) for sickness, words in _SICKNESSES.items()},
        }
    )
