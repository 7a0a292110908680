"""`adsyncd plan`, called in this process as the shell calls it."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from adsyncd.model.run import Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.runs.plan import PlatformPlan, TenantPlan
from adsyncd.store import Store
from support.commands import Said, Shell, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import NOON, page, run

Plan = Callable[..., Said]


@pytest.fixture
def plan(shell: Shell) -> Plan:
    """Plan for tenants, each given as `acme="15m"`, with arguments."""
    with (shell.folder / "adsyncd.toml").open("a") as settings:
        settings.write('quota = { requests = 20, per = "60s" }\n')

    def call(*arguments: str, **tenants: str) -> Said:
        for name, every in tenants.items():
            add_tenant(shell.folder, name, f'schedule = {{ every = "{every}" }}\n')
        return shell.call("plan", *arguments)

    return call


def planned(said: Said) -> dict[str, dict[str, Any]]:
    return {tenant["tenant"]: tenant for tenant in json.loads(said.out)["tenants"]}


def test_it_exits_0_if_the_quotas_are_enough_and_shows_the_numbers(plan: Plan) -> None:
    said = plan(acme="15m")
    assert said.code == 0
    *_, note = said.err.splitlines()
    assert note == "note: 1 of 1 tenant has never been listed; assuming 100 campaigns each"
    [acme] = [line.split() for line in said.out.splitlines() if line.startswith("acme")]
    assert acme[:7] == ["acme", "100?", "110", "11m1s", "15m", "11m1s", "73%"]
    [mixo] = [line.split() for line in said.out.splitlines() if line.startswith("mixo")]
    assert mixo == ["mixo", "1", "37%", "63%"]


def test_it_exits_1_and_says_what_would_help_if_a_quota_is_not_enough(plan: Plan) -> None:
    said = plan(acme="15m", globex="5m")
    assert said.code == 1
    assert "tenant globex: a run takes up to 110 requests and 12m, and is due every 5m" in said.out
    assert "platform mixo: its tenants need 147% of its quota" in said.out
    assert "tenant acme:" not in said.out


def test_it_shows_one_tenant_alone_but_counts_on_the_others(plan: Plan) -> None:
    said = plan("acme", "--json", acme="15m", globex="1h")
    assert said.code == 0
    assert list(planned(said)) == ["acme"]
    [platform] = json.loads(said.out)["platforms"]
    assert (platform["tenants"], platform["share"]) == (2, 0.459)


def test_its_json_has_the_keys_of_the_values(plan: Plan) -> None:
    found = json.loads(plan("--json", acme="15m").out)
    assert list(found) == ["tenants", "platforms"]
    assert list(found["tenants"][0]) == [field.name for field in fields(TenantPlan)]
    assert list(found["platforms"][0]) == [field.name for field in fields(PlatformPlan)]


def test_it_knows_from_the_store_what_tenants_have_and_what_their_runs_took(plan: Plan, tmp_path: Path) -> None:
    async def run_once(store: Store) -> None:
        await store.begin(run("acme"))
        await store.keep_page(run("acme"), page("c1", "c2", "c3"), PushPolicy.ALL)
        await store.finish(replace(run("acme"), ended_at=NOON, outcome=Outcome.SUCCEEDED, requests=7))

    in_store(sqlite_file(tmp_path), run_once)
    said = plan("--json", acme="15m")
    assert said.err == ""
    acme = planned(said)["acme"]
    assert (acme["campaigns"], acme["known"], acme["most_requests"], acme["usual_requests"]) == (3, True, 4, 7)


def test_a_store_that_cannot_be_read_is_named_and_no_obstacle(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "adsyncd.db").write_bytes(b"no database at all" * 100)
    said = plan(acme="15m")
    assert said.code == 0
    assert said.err.startswith("note: the number of campaigns is unknown: ")
    assert "adsyncd.db" in said.err


def test_options_select_what_is_shown_and_the_others_still_count(plan: Plan) -> None:
    said = plan("--match", "a*", "--json", acme="15m", globex="1h")
    assert list(planned(said)) == ["acme"]
    [platform] = json.loads(said.out)["platforms"]
    assert (platform["tenants"], platform["share"]) == (2, 0.459)
    assert list(planned(plan("--platform", "mixo", "--json"))) == ["acme", "globex"]
    assert plan("--match", "b*").err.endswith(
        'error: no tenant has an id that matches "b*"; adsyncd status lists all\n'
    )
    assert plan("acme", "--match", "a*").code == 2


def test_only_the_tenants_shown_decide_the_exit_code(plan: Plan) -> None:
    assert plan("--match", "acme", acme="1h", globex="5m").code == 1  # its platform's quota is too small
    with_room = plan("--match", "acme", acme="1h", globex="10m")
    assert (with_room.code, "globex" in with_room.out) == (0, False)
