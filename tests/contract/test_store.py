import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer

from adsyncd.errors import StoreError
from adsyncd.model.campaign import PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_store, tables
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


async def test_a_write_is_a_span_in_its_caller_s_trace(url: str) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer = provider.get_tracer("test")
    async with open_store(url, clock=HandClock(), tracer=tracer) as store:
        with tracer.start_as_current_span("sync.run"):
            await store.begin(run())
            await store.finish(replace(run(), ended_at=NOON))
            with pytest.raises(StoreError):
                await store.begin(run())
    *writes, root = spans.get_finished_spans()
    assert [(write.name, write.parent) for write in writes] == [("store.write", root.context)] * 3
    assert [(write.attributes or {}).get("adsyncd.store.writes") for write in writes] == [1, 1, None]
    assert {(write.attributes or {})["db.system.name"] for write in writes} == {url.partition(":")[0]}
    assert [(write.attributes or {}).get("error.type") for write in writes] == [None, None, "RunEnded"]
