"""Dead letters from end to end: the real commands, and a real platform whose ledger says what took effect."""

import json
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry.trace import NoOpTracer

from adsyncd.cli.output import letter_as_json
from adsyncd.clock import SystemClock
from adsyncd.store import open_store
from support.platform import HEALTHY, Platform, accounts, running_platform
from support.program import Program

REJECTED = ["cmp-0002", "cmp-0003", "cmp-0005", "cmp-0006"]
Letters = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class World:
    """A platform that rejects some of the tenant's six campaigns, and a tenant that has been synced once."""

    platform: Platform
    program: Program

    async def sync(self) -> Mapping[str, Any]:
        run: Mapping[str, Any] = json.loads((await self.program.run("sync", "acme", "--json")).stdout)
        return run

    async def letters(self) -> Letters:
        """Return what `dead-letters list --json` prints, without the second that a process takes to start."""
        url = f"sqlite:///{self.program.folder}/adsyncd.db"
        async with open_store(url, clock=SystemClock(), tracer=NoOpTracer()) as store:
            return [letter_as_json(letter) for letter in await store.dead_letters()]

    async def call(self, *arguments: str) -> tuple[int, Any]:
        """Run a command on dead letters, and return its exit code and what it printed."""
        done = await self.program.run("dead-letters", *arguments, "--json")
        assert b"Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or b"null")

    async def heal(self, **behaviour: object) -> None:
        await self.platform.change(clients={"acme": {"rejected": [], **behaviour}})

    async def effects(self) -> Mapping[str, Mapping[str, int]]:
        """Return how often a push took effect, by campaign and key."""
        effects: Mapping[str, Mapping[str, int]] = (await self.platform.ledger("acme"))["effects"]
        return effects


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = {"accounts": accounts("acme"), "clients": {"acme": {**HEALTHY, "campaigns": 6, "rejected": REJECTED}}}
    async with running_platform(settings) as platform:
        program = Program(tmp_path, {"ACME_EMAIL": "acme@example.com", "ACME_PASSWORD": "pw-acme"})
        program.settings(platform.base_url)
        tell(program, concurrency=1)  # so that they die in this order
        world = World(platform, program)
        run = await world.sync()
        tell(program)
        assert (run["outcome"], run["pushed"], run["dead_lettered"]) == ("partial", 2, 4)
        await platform.reset_ledger()
        yield world


def tell(program: Program, **sync: object) -> None:
    """Write the tenant's drop-in."""
    program.tenant("acme", quota={"requests": 1000, "per": "1s"}, sync=sync)


def keys(letters: Letters) -> dict[str, dict[str, int]]:
    """Return the effects that dead letters have if each takes effect once, with its own key."""
    return {letter["campaign_id"]: {letter["idempotency_key"]: 1} for letter in letters}


async def test_a_replay_pushes_with_the_keys_of_the_dead_letters_once_what_was_wrong_is_fixed(world: World) -> None:
    dead = await world.letters()
    assert [letter["campaign_id"] for letter in dead] == REJECTED
    assert {letter["reason"] for letter in dead} == {
        "the platform answered 422: Unprocessable Entity this campaign can't be synced"
    }
    code, replayed = await world.call("replay", "--all")
    assert (code, {each["outcome"] for each in replayed}) == (3, {"failed"})
    again = await world.letters()
    assert [letter["attempts"] for letter in again] == [2] * 4
    assert keys(again) == keys(dead)

    await world.heal()
    code, listed = await world.call("replay", "--all", "--dry-run")
    assert (code, listed) == (0, again)
    assert await world.effects() == {}
    code, replayed = await world.call("replay", "acme", "cmp-0002")
    assert (code, [each["campaign_id"] for each in replayed]) == (0, ["cmp-0002"])
    code, replayed = await world.call("replay", "--tenant", "acme", "--reason", "422")
    assert (code, [each["outcome"] for each in replayed]) == (0, ["pushed"] * 3)
    assert await world.effects() == keys(dead)
    assert await world.letters() == []
    assert await world.call("replay", "--all") == (0, [])

    tell(world.program, push="changed")
    run = await world.sync()
    assert (run["outcome"], run["skipped"]) == ("succeeded", 6)  # what was replayed counts as pushed


async def test_a_replay_that_is_killed_loses_nothing_and_doubles_nothing(world: World) -> None:
    dead = await world.letters()
    tell(world.program, concurrency=1)
    await world.heal(push_latency_s=0.5)
    async with world.program.opened(*world.program._command("dead-letters", "replay", "--all")):
        await world.platform.reach_effects("acme", 2)
    left = await world.letters()
    assert [letter["campaign_id"] for letter in left] == REJECTED[1:]  # of one it is not known that it took effect
    code, replayed = await world.call("replay", "--all")
    assert (code, [each["outcome"] for each in replayed]) == (0, ["pushed"] * 3)
    assert await world.effects() == keys(dead)


async def test_a_replay_that_is_told_to_stop_lets_what_is_on_its_way_come_back_and_leaves_the_rest(
    world: World,
) -> None:
    dead = await world.letters()
    tell(world.program, concurrency=1)
    await world.heal(push_latency_s=1)
    command = world.program._command("dead-letters", "replay", "--all", "--json")
    async with world.program.opened(*command) as process:
        await world.platform.reach_effects("acme", 1)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        said = b"".join([chunk async for chunk in process.stdout])
        assert await process.wait() == 3
    assert [each["outcome"] for each in json.loads(said)] == ["pushed", "pending", "pending", "pending"]
    assert await world.letters() == dead[1:]


async def test_a_daemon_that_is_told_to_stop_waits_for_the_push_of_a_replay_and_records_it(world: World) -> None:
    dead = await world.letters()
    tell(world.program, concurrency=1, max_attempts=1)
    await world.heal(push_latency_s=3)
    answers: list[httpx.Response] = []

    async def replay(at: httpx.AsyncClient) -> None:
        answers.append(await at.post("/v1/dead-letters/replay", json={"dead_letters": {"all": True}}))

    async with (
        world.program.daemon() as daemon,
        world.program.control() as control,
        anyio.create_task_group() as tasks,
    ):
        await daemon.logs("ready")
        tasks.start_soon(replay, control)
        await world.platform.reach_effects("acme", 1)
        assert await daemon.stop() == 0
    assert [each["outcome"] for each in answers[0].json()] == ["pushed", "pending", "pending", "pending"]
    assert await world.letters() == dead[1:]


async def test_a_replay_that_cannot_be_tried_says_why_and_leaves_all_as_it_was(world: World) -> None:
    dead = await world.letters()
    world.program.environ["ACME_PASSWORD"] = "wrong"
    code, replayed = await world.call("replay", "--all")
    assert (code, [each["outcome"] for each in replayed]) == (1, ["pending"] * 4)
    assert "refused email and password" in replayed[0]["error"]
    (world.program.folder / "tenants.d" / "acme.toml").unlink()
    code, replayed = await world.call("replay", "--all")
    assert (code, [each["outcome"] for each in replayed]) == (1, ["pending"] * 4)
    assert 'there is no tenant "acme"' in replayed[0]["error"]
    assert await world.letters() == dead


async def test_a_mistyped_tenant_is_an_error_and_a_pattern_selects_tenants(world: World) -> None:
    mistyped = await world.program.run("dead-letters", "list", "--tenant", "amce")
    assert (mistyped.returncode, mistyped.stdout) == (1, b"")
    assert mistyped.stderr == b'error: there is no tenant "amce"; did you mean "acme"?\n'
    assert await world.call("list", "--match", "a*", "--reason", "422") == (0, await world.letters())
    assert (await world.call("replay", "--match", "b*", "--dry-run"))[0] == 1
    await world.heal()
    code, replayed = await world.call("replay", "--match", "a*", "--reason", "422")
    assert (code, {each["outcome"] for each in replayed}) == (0, {"pushed"})
    assert await world.letters() == []


async def test_what_is_discarded_the_next_run_pushes_afresh(world: World) -> None:
    dead = await world.letters()
    await world.heal()
    assert await world.call("discard", "acme", "cmp-0002", "--dry-run") == (0, dead[:1])
    assert await world.letters() == dead
    assert await world.call("discard", "acme", "cmp-0002") == (0, dead[:1])
    assert await world.letters() == dead[1:]
    assert await world.effects() == {}
    run = await world.sync()
    assert (run["pushed"], run["dead_lettered"]) == (3, 3)
    effects = await world.effects()
    assert list(effects["cmp-0002"].values()) == [1]
    assert effects["cmp-0002"] != keys(dead)["cmp-0002"]


async def test_what_is_changed_upstream_comes_back_and_what_is_deleted_is_no_dead_letter_any_more(world: World) -> None:
    await world.heal(revisions={"cmp-0002": 1}, deleted=["cmp-0003"])
    for letters in (REJECTED[1:], REJECTED[2:]):  # two listings have to agree
        run = await world.sync()
        assert (run["listed"], run["pushed"], run["dead_lettered"]) == (5, 3, 2)
        assert [letter["campaign_id"] for letter in await world.letters()] == letters
