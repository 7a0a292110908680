"""`adsyncd simulate`, called in this process as the shell calls it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from support.commands import Said, Shell, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import page, run

KEYS = [
    "tenant", "campaigns", "runs", "typical_s", "longest_s", "requests_a_run", "skipped", "cut_short", "failed",
    "quota_left", "fix", "keeps_schedule",
]  # fmt: skip


Simulate = Callable[..., Said]


@pytest.fixture
def simulate(shell: Shell) -> Simulate:
    """Simulate tenants, each given as `acme="15m"`, for half an hour, with options."""

    def call(*options: str, **tenants: str) -> Said:
        for name, every in tenants.items():
            add_tenant(shell.folder, name, f'schedule = {{ every = "{every}" }}\n')
        return shell.call("simulate", "--hours", "0.5", *options)

    return call


def forecasts(said: Said) -> dict[str, dict[str, Any]]:
    return {forecast["tenant"]: forecast for forecast in json.loads(said.out)}


def test_it_exits_0_if_every_tenant_keeps_its_schedule(simulate: Simulate) -> None:
    said = simulate("--campaigns", "5", "--healthy", acme="15m", globex="20m")
    assert (said.code, said.err) == (0, "")
    assert "2 of 2 tenants keep their schedule" in said.out


def test_it_exits_1_and_says_what_would_help_if_a_tenant_cannot(simulate: Simulate) -> None:
    said = simulate("--campaigns", "30", "--healthy", acme="15m", globex="1m")
    assert said.code == 1
    assert "1 of 2 tenants keep their schedule" in said.out
    assert "globex: a run takes up to 33 requests" in said.out
    assert "acme:" not in said.out


def test_its_json_has_the_keys_of_the_contract(simulate: Simulate) -> None:
    said = simulate("--campaigns", "5", "--json", acme="15m")
    assert [list(forecast) for forecast in json.loads(said.out)] == [KEYS]


def test_the_same_seed_answers_the_same_and_another_one_another(simulate: Simulate) -> None:
    one, same, other = (simulate("--campaigns", "20", "--json", "--seed", seed, acme="15m").out for seed in "112")
    assert one == same != other


def test_a_tenant_has_the_campaigns_that_the_store_knows_and_others_a_hundred(
    simulate: Simulate, tmp_path: Path
) -> None:
    async def list_three(store: Store) -> None:
        await store.begin(run("acme"))
        await store.keep_page(run("acme"), page("c1", "c2", "c3"), PushPolicy.ALL)

    in_store(sqlite_file(tmp_path), list_three)
    found = forecasts(simulate("--json", "--healthy", acme="15m", globex="30m"))
    assert (found["acme"]["campaigns"], found["globex"]["campaigns"]) == (3, 100)
    assert forecasts(simulate("--json", "--campaigns", "7"))["acme"]["campaigns"] == 7


def test_without_a_tenant_it_says_where_to_put_one(simulate: Simulate) -> None:
    said = simulate()
    assert said.code == 1
    assert "put a drop-in for each into one of tenants_dirs" in said.err


def test_a_platform_that_is_not_there_is_an_error_that_says_what_to_write(simulate: Simulate) -> None:
    said = simulate("--campaigns", "5", "--platform", "nothing.here:create", acme="15m")
    assert said.code == 1
    assert "error: there is no platform nothing.here:create" in said.err
    assert "write MODULE:FACTORY" in said.err
