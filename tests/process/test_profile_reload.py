"""The real daemon takes up a changed profile; while its file is bad, it goes on with the last good one."""

import sqlite3
from contextlib import closing

from support.orbit import orbit_environ, orbit_settings, orbit_table
from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Daemon, Program

CAMPAIGNS = 12
CURRENCY = 'currency = "account.currency"\n'


def currencies(program: Program) -> set[str | None]:
    """Return what the database has of the campaigns of the tenant that only pulls."""
    with closing(sqlite3.connect(f"file:{program.folder}/adsyncd.db?mode=ro", uri=True)) as database:
        return {currency for (currency,) in database.execute("SELECT currency FROM campaigns WHERE tenant = 'pull'")}


async def again(program: Program, tenant: str) -> None:
    """Run a tenant once more, and see it succeed with all of its campaigns."""
    before = (await program.status(tenant))["last_run"]
    async with program.control() as control:
        (await control.post(f"/v1/tenants/{tenant}/trigger")).raise_for_status()
    run = (await program.status(tenant, lambda found: found["last_run"] != before))["last_run"]
    assert (run["outcome"], run["listed"]) == ("succeeded", CAMPAIGNS)


def configure(program: Program, platform: Platform) -> None:
    platforms = {"mixo": {"base_url": platform.base_url}, "orbit": orbit_table(program, platform.base_url)}
    program.settings(platforms=platforms, defaults=dict(AMPLE))
    program.tenant("acme")
    program.tenant("pull", platform="orbit")


async def reload(program: Program, code: int = 0) -> dict[str, object]:
    report: dict[str, object] = await program.ask("reload", code=code)
    return {key: report[key] for key in ("added", "changed", "unchanged")}


async def test_a_changed_profile_is_taken_up_and_a_bad_one_costs_nobody_anything(program: Program) -> None:
    orbit = orbit_settings("pull")
    settings = {**orbit, "accounts": {**orbit["accounts"], **accounts("acme", "globex")}}
    async with running_platform({**settings, "everyone": {**HEALTHY, "campaigns": CAMPAIGNS}}) as platform:
        program.environ.update(environ_of("acme", "globex") | orbit_environ("PULL", "pull"))
        configure(program, platform)
        async with program.daemon() as daemon:
            await daemon.logs("run ended", 2)
            [currency] = currencies(program)
            assert currency is not None
            await changes(program, daemon, currency)


async def changes(program: Program, daemon: Daemon, currency: str) -> None:
    profile = program.folder / "orbit.toml"
    good = profile.read_text()
    assert CURRENCY in good

    profile.write_text(good.replace(CURRENCY, ""))
    assert await reload(program) == {"added": [], "changed": ["pull"], "unchanged": ["acme"]}
    await again(program, "pull")
    assert currencies(program) == {None}

    profile.write_text(good + "nonsense")
    program.tenant("globex")
    assert await reload(program, code=1) == {"added": ["globex"], "changed": [], "unchanged": ["acme", "pull"]}
    [refusal] = daemon.events("profile refused")
    assert (refusal["platform"], refusal["goes_on"]) == ("orbit", True)
    assert refusal["problem"].startswith(f"{profile}:{good.count(chr(10)) + 1}: ")
    for tenant in ("pull", "acme"):
        await again(program, tenant)
    assert currencies(program) == {None}  # as the last good one says

    profile.write_text(good)
    assert (await reload(program))["changed"] == ["pull"]
    assert len(daemon.events("profile no longer refused")) == 1
    await again(program, "pull")
    assert currencies(program) == {currency}
