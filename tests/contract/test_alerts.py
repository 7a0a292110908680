from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.campaign import PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from support.records import NOON, HandClock, page, run, settle

ALERT = Alert("acme", AlertName.RUNS_FAILING, NOON, "3 runs in a row failed")


@pytest.mark.parametrize("name", AlertName)
async def test_the_store_has_room_for_each_name(store: Store, name: AlertName) -> None:
    await store.keep_alert(replace(ALERT, name=name))
    assert [alert.name for alert in await store.alerts()] == [name]


async def test_the_oldest_dead_letter_is_the_tenant_s_own(store: Store, clock: HandClock) -> None:
    assert await store.oldest_dead_letter("acme") is None
    for number, tenant in enumerate(("globex", "acme", "acme")):
        clock.instant = NOON + timedelta(hours=number)
        of = run(tenant, number)
        await store.begin(of)
        [push] = await store.keep_page(of, page(f"c{number}"), PushPolicy.ALL)
        await settle(store, of, push, PushState.DEAD_LETTERED)
    assert await store.oldest_dead_letter("acme") == NOON + timedelta(hours=1)
