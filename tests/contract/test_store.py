import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, StatusCode

from adsyncd.errors import StoreError
from adsyncd.model.campaign import PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_store, tables
from adsyncd.store.writer import Ticket, Writer
from adsyncd.telemetry.write_durations import WriteDurations
from support.metrics import Metrics
from support.records import NOON, HandClock, campaign, page, rows, run, settle


async def test_only_the_caller_whose_write_is_refused_gets_the_error(store: Store) -> None:
    refused: list[str] = []

    async def keep(campaign_id: str, impressions: int) -> None:
        this = run(campaign_id)
        try:
            await store.begin(this)
            await store.keep_page(this, page(replace(campaign(campaign_id), impressions=impressions)), PushPolicy.ALL)
        except StoreError:
            refused.append(campaign_id)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(keep, f"c{number}", 2**80 if number == 7 else 1)
    assert refused == ["c7"]
    assert len(await rows(store, tables.campaigns)) == 19


async def test_a_write_is_done_even_if_its_caller_is_cancelled(store: Store) -> None:
    await store.begin(run())
    pushes = await store.keep_page(run(), page(*[f"c{number}" for number in range(50)]), PushPolicy.ALL)
    async with anyio.create_task_group() as tasks:
        for push in pushes:
            tasks.start_soon(settle, store, run(), push, PushState.PUSHED)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    await store.begin(run("globex"))  # queued behind them
    assert {push.state for push in await rows(store, tables.pushes)} == {PushState.PUSHED}


async def test_closing_the_store_writes_what_is_queued(url: str) -> None:
    with anyio.CancelScope() as scope:
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store, anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(store.begin, run(number=number))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        assert len(await store.open_runs()) == 50


async def test_a_database_that_another_one_is_making_opens_when_it_is_made(tmp_path: Path) -> None:
    new = sqlite3.connect(tmp_path / "adsyncd.db", isolation_level=None, check_same_thread=False)
    new.execute("BEGIN IMMEDIATE")  # SQLite then refuses at once, and does not wait, to change how a file is journaled
    ready = threading.Timer(0.5, new.execute, ["ROLLBACK"])
    ready.start()
    async with open_store(f"sqlite:///{tmp_path}/adsyncd.db", clock=HandClock(), tracer=NoOpTracer()) as store:
        await store.begin(run())
    ready.join()
    new.close()


async def test_a_database_that_is_being_made_for_ever_is_given_up(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "adsyncd.db", isolation_level=None)) as new:
        new.execute("BEGIN IMMEDIATE")
        url = f"sqlite:///{tmp_path}/adsyncd.db?timeout=0.2"
        with pytest.raises(StoreError, match="another process keeps it locked"):
            async with open_store(url, clock=HandClock(), tracer=NoOpTracer()):
                pass


async def test_what_the_body_raises_leaves_the_store_as_it_is(url: str) -> None:
    with pytest.raises(KeyError):
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()):
            raise KeyError


async def test_each_transaction_that_writes_is_measured(url: str) -> None:
    metrics = Metrics()
    async with open_store(
        url, clock=HandClock(), tracer=NoOpTracer(), durations=WriteDurations(metrics.meter)
    ) as store:
        await store.begin(run())
        await store.finish(replace(run(), ended_at=NOON))
        with pytest.raises(StoreError):
            await store.begin(run())
    points = [point["attributes"] for point in metrics.points("db.client.operation.duration")]
    assert {point["db.system.name"] for point in points} == {url.partition(":")[0]}
    told = {(point["db.operation.name"], point.get("error.type")) for point in points}
    assert told == {("beginning.begin", None), ("ending.finish", None), ("beginning.begin", "RunEnded")}


class SlowClock(HandClock):
    """A clock by which each transaction takes so long."""

    write_s = 0.0
    passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s


async def test_a_write_that_is_slow_or_fails_is_a_span_in_its_caller_s_trace(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer, clock, transact = provider.get_tracer("test"), SlowClock(), Writer._transact

    def take_long(writer: Writer, batch: list[Ticket[Any]]) -> None:
        clock.passed_s += clock.write_s
        transact(writer, batch)

    monkeypatch.setattr(Writer, "_transact", take_long)
    async with open_store(url, clock=clock, tracer=tracer) as store:
        await store.pause("acme", NOON)  # outside of a trace
        with tracer.start_as_current_span("sync.run"):
            await store.begin(run())
            clock.write_s = 0.25
            await store.begin(run(number=1))
            clock.write_s = 0.1
            await store.finish(replace(run(), ended_at=NOON))
            with pytest.raises(StoreError):
                await store.begin(run())
    *writes, root = spans.get_finished_spans()
    assert [(write.name, write.parent) for write in writes] == [("store.write", root.context)] * 2
    assert [(write.attributes or {}).get("adsyncd.store.writes") for write in writes] == [1, None]
    assert {(write.attributes or {})["db.system.name"] for write in writes} == {url.partition(":")[0]}
    assert [(write.attributes or {}).get("error.type") for write in writes] == [None, "RunEnded"]
    assert [write.status.status_code for write in writes] == [StatusCode.UNSET, StatusCode.ERROR]
    [slow, _] = writes
    end_ns = round(NOON.timestamp() * 1e9)
    assert (slow.start_time, slow.end_time) == (end_ns - 250_000_000, end_ns)


async def test_outcomes_are_queued_and_never_overtaken_by_the_end_of_their_run(store: Store) -> None:
    await store.begin(run())
    pushes = await store.keep_page(run(), page(*[f"c{number}" for number in range(50)]), PushPolicy.ALL)
    told: list[StoreError | None] = []
    for push in pushes:
        store.settle(run(), replace(push, state=PushState.PUSHED), told.append)
    assert told == []
    await store.finish(replace(run(), ended_at=NOON))
    assert told == [None] * 50
    assert {bool(row.synced_at) for row in await rows(store, tables.campaigns)} == {True}


async def test_an_outcome_that_is_refused_is_told_and_costs_no_other(store: Store) -> None:
    await store.begin(run())
    pushes = await store.keep_page(run(), page("c0", "c1", "c2"), PushPolicy.ALL)
    told: dict[str, StoreError | None] = {}
    for push in pushes:
        failures = 2**80 if push.campaign_id == "c1" else 0
        outcome = replace(push, state=PushState.FAILED, failures=failures)
        store.settle(run(), outcome, partial(told.__setitem__, push.campaign_id))
    await store.begin(run("globex"))
    assert {campaign_id: error is None for campaign_id, error in told.items()} == {"c0": True, "c1": False, "c2": True}
    assert sorted(push.campaign_id for push in (await store.begin(run())).owed) == ["c1"]
