from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import pytest
from opentelemetry.trace import NoOpTracer, StatusCode, Tracer

from adsyncd.errors import (
    BadAnswer,
    CredentialsMissing,
    PlatformError,
    Rejected,
    SignInRefused,
    Stopping,
    StoreError,
    Unauthorized,
    Unavailable,
)
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.runs.replay import Replay, Replayed
from adsyncd.store import Store, tables
from support.inline_store import Disk
from support.pipelines import Source
from support.records import NOON, page, rows, settle
from support.records import run as a_run
from support.spans import Spans, attributes
from support.tenants import a_tenant

PUSHED, FAILED, PENDING = PushState.PUSHED, PushState.FAILED, PushState.PENDING


class Platform(Source):
    """A platform on which a push takes 2 s, or fails in 1 s as it is told. All of them are pushed again."""

    def __init__(self, faults: Mapping[str, Exception] | None = None) -> None:
        super().__init__(push_faults=faults or {})

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        assert again
        self.push_s = 1 if campaign_id in self.push_faults else 2
        return await super().push(campaign_id, key, again=again)


async def letters(store: Store, *ids: str) -> list[DeadLetter]:
    """Let a run end with a dead letter of each campaign, and return them."""
    await store.begin(a_run())
    for push in await store.keep_page(a_run(), page(*ids), PushPolicy.ALL):
        await settle(store, a_run(), push, PushState.DEAD_LETTERED, attempts=5, error="422: no")
    await store.finish(replace(a_run(), ended_at=NOON))
    return await store.dead_letters()


async def replay(
    platform: Platform,
    store: Store,
    of: Sequence[DeadLetter],
    *,
    tally: Tally | None = None,
    tracer: Tracer | None = None,
    concurrency: int = 5,
) -> list[Replayed]:
    tenant, tracer = a_tenant(concurrency=concurrency), tracer or NoOpTracer()
    return await Replay(tenant, platform, store, tally or Tally(), tracer=tracer).run(of)


async def test_what_is_replayed_is_pushed_with_the_key_with_which_it_died_and_is_no_dead_letter_any_more(
    store: Store,
) -> None:
    platform, dead = Platform(), await letters(store, "c1", "c2")
    assert await replay(platform, store, dead) == [Replayed(letter, PUSHED) for letter in dead]
    assert platform.effects == {(letter.campaign_id, letter.idempotency_key): 1 for letter in dead}
    assert await store.dead_letters() == []
    assert all(row.synced_at and row.pushed_hash for row in await rows(store, tables.campaigns))


@pytest.mark.parametrize(
    "error", [Rejected("422: still no", 422), Unavailable("503"), BadAnswer("HTML"), Unauthorized("401")]
)
async def test_what_fails_again_stays_for_the_new_reason_and_costs_no_other(store: Store, error: PlatformError) -> None:
    error.attempts = 3
    dead = await letters(store, "c1", "c2", "c3")
    fates = await replay(Platform({"c2": error}), store, dead)
    assert [(fate.state, fate.error) for fate in fates] == [(PUSHED, None), (FAILED, str(error)), (PUSHED, None)]
    [left] = await store.dead_letters()
    assert (left.campaign_id, left.reason, left.attempts) == ("c2", str(error), 5 + 3)
    assert left.replayed_at is not None


async def test_a_replay_pushes_as_many_at_once_as_the_tenant_allows(store: Store) -> None:
    platform, dead = Platform(), await letters(store, *[f"c{number}" for number in range(9)])
    began = anyio.current_time()
    await replay(platform, store, dead, concurrency=3)
    assert (platform.peak, anyio.current_time() - began) == (3, 6)


@pytest.mark.parametrize("error", [SignInRefused("refused"), CredentialsMissing("none"), Stopping("stopping")])
async def test_an_error_that_concerns_them_all_ends_the_replay_and_leaves_the_rest_as_it_was(
    store: Store, error: Exception
) -> None:
    platform, dead, spans = Platform({"c1": error}), await letters(store, "c0", "c1", "c2", "c3", "c4"), Spans()
    fates = await replay(platform, store, dead, concurrency=2, tracer=spans.tracer)
    assert [fate.state for fate in fates] == [PUSHED, *[PENDING] * 4]  # c0 was on its way
    assert {fate.error for fate in fates if fate.state is PENDING} == {str(error)}
    assert [each for each, _ in platform.pushed] == ["c0", "c1"]
    [root] = spans.named("dead_letters.replay")
    failed = (StatusCode.UNSET, None) if isinstance(error, Stopping) else (StatusCode.ERROR, str(error))
    assert (root.status.status_code, root.status.description) == failed
    assert await store.dead_letters() == dead[1:]


async def test_a_database_that_is_gone_ends_the_replay(store: Store, disk: Disk) -> None:
    dead = await letters(store, "c1", "c2")
    disk.gone = True
    fates = await replay(Platform(), store, dead, concurrency=1)
    assert [fate.state for fate in fates] == [PENDING, PENDING]
    assert "the disk is gone" in str(fates[0].error)


async def test_a_replay_that_was_cut_off_is_replayed_without_a_second_effect(store: Store) -> None:
    platform, dead = Platform(), await letters(store, "c1", "c2")

    class Killed(Store):
        def __init__(self) -> None:
            pass

        async def settle_replay(self, *_: object, **__: object) -> None:
            raise StoreError("killed before it was recorded")

    await replay(platform, Killed(), dead)
    assert await store.dead_letters() == dead
    await replay(platform, store, await store.dead_letters())
    assert [each for each, _ in platform.pushed] == ["c1", "c2"] * 2
    assert len(platform.effects) == 2
    assert await store.dead_letters() == []


async def test_what_was_pushed_is_recorded_even_if_the_replay_is_cancelled_meanwhile(store: Store, disk: Disk) -> None:
    dead = await letters(store, "c1", "c2")
    disk.takes_s = 1
    with anyio.move_on_after(2.5):
        await replay(Platform(), store, dead, concurrency=1)
    disk.takes_s = 0
    assert [letter.campaign_id for letter in await store.dead_letters()] == ["c2"]


async def test_the_tally_is_counted_up_while_the_replay_goes(store: Store) -> None:
    tally, seen = Tally(), []
    dead = await letters(store, "c1", "c2", "c3")
    async with anyio.create_task_group() as tasks:
        platform = Platform({"c2": Unavailable("503")})
        tasks.start_soon(lambda: replay(platform, store, dead, tally=tally, concurrency=1))
        for _ in range(4):
            seen.append((tally.pushed, tally.failed))
            await anyio.sleep(2.1)
    assert seen == [(0, 0), (1, 0), (1, 1), (2, 1)]


async def test_a_replay_is_one_trace_that_its_dead_letters_name(store: Store) -> None:
    spans, dead = Spans(), await letters(store, "c1", "c2")
    await replay(Platform({"c2": Rejected("422", 422)}), store, dead, tracer=spans.tracer)
    [root] = spans.named("dead_letters.replay")
    assert attributes(root) == {"adsyncd.tenant": "acme", "adsyncd.client_id": "acme"}
    pushes = spans.named("campaign.push")
    assert [push.parent for push in pushes] == [root.context] * 2
    assert {
        attributes(push)["adsyncd.campaign_id"]: (attributes(push)["adsyncd.outcome"], push.status.status_code)
        for push in pushes
    } == {"c1": ("pushed", StatusCode.UNSET), "c2": ("failed", StatusCode.ERROR)}
    [left] = await store.dead_letters()
    assert left.trace_id == f"{root.context.trace_id:032x}"
