"""The same world with its sick tenants and without them: what the healthy ones do has to be the same."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from adsyncd.simulation.invariants import RunSeen
from adsyncd.simulation.scenario import draw_world
from adsyncd.simulation.simulation import Simulator
from adsyncd.simulation.world import End, Life, PlatformChange, World


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of the healthy tenants, to the millisecond: `among` sick ones, and `alone`."""

    among: list[RunSeen]
    alone: list[RunSeen]


def with_and_without_the_sick(simulator: Simulator, world: World) -> Runs:
    steady = _steady(world)
    lonely = replace(steady, lives=tuple(_without(life, world.sick) for life in steady.lives))
    among, alone = (
        [_to_the_millisecond(run) for run in simulator.run(each).runs if run.tenant not in world.sick]
        for each in (steady, lonely)
    )
    return Runs(among, alone)


def mute_world(seed: int) -> World:
    """Return a world of twelve tenants whose platform has a quota for all of them, and never lets most of them sign in.

    So these ask for no campaign, and take nothing of that quota.
    """
    world = draw_world(seed, tenants=12, hours=0.3, sick=0.8, shared=1.0, second=0.0)
    refs = {tenant.client_id: tenant.credentials for tenant in world.tenants}
    silent = {"accounts": {world.accounts[refs[id_]][0]: {"silent": True} for id_ in world.sick}}
    changes = [PlatformChange(0.0, world.tenants[0].platform.base_url, silent)]
    changes += [change for change in world.changes if not _concerns(change, world)]
    return replace(world, changes=tuple(changes), sick=dict.fromkeys(world.sick, "mute"))


def _concerns(change: PlatformChange, world: World) -> bool:
    """Return whether a change concerns the sick tenants."""
    clients = change.settings.get("clients")
    return not isinstance(clients, dict) or bool(clients.keys() & world.sick.keys())


def _steady(world: World) -> World:
    """Leave out the faults that all tenants share by design: of the disk, of catching up, clean stops, an operator."""
    lives = (replace(life, catches_up=False, end=End.KILL, guest=None) for life in world.lives)
    return replace(
        world, lives=tuple(lives), jumps=(), outages=(), hangs=(), failures=(), stalls=(), store_s=0.0, cures={}
    )


def _without(life: Life, sick: Collection[str]) -> Life:
    return replace(life, tenants=tuple(tenant for tenant in life.tenants if tenant.id not in sick))


def _to_the_millisecond(run: RunSeen) -> RunSeen:
    return replace(run, begun_s=round(run.begun_s, 3), ended_s=round(run.ended_s, 3))
