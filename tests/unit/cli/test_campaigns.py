"""`adsyncd campaigns` on a store that a daemon has left, called in this process as the shell calls it."""

import csv
import io
import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adsyncd.cli import campaigns
from adsyncd.clock import SystemClock
from adsyncd.model.campaign import PushState
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Reader, Store
from adsyncd.store.stored_campaigns import CampaignFilter
from support.commands import Call, Said, Shell
from support.migrated import sqlite_file
from support.records import NOON, campaign, page, run, settle

NASTY = '=HYPERLINK("http://x","\x1b[31mred\x1b[0m")\nnext'


async def fill(store: Store) -> None:
    """Let acme have a pushed, a dead, a nasty and a deleted campaign, and globex a run that lists nothing."""
    listed = [
        campaign("cmp-1", "Spring sale"),
        replace(campaign("cmp-2", "Brand"), budget=None),
        replace(campaign("cmp-3", NASTY), budget=-1234.5, currency=None, status="-paused"),
    ]
    for number in range(3):
        this = run("acme", number)
        await store.begin(this)
        known = page(*listed, *["gone"] * (number == 0))
        for push in await store.keep_page(this, known, PushPolicy.ALL if number == 0 else PushPolicy.NONE):
            if push.state is PushState.PENDING:
                state = PushState.DEAD_LETTERED if push.campaign_id == "cmp-2" else PushState.PUSHED
                await settle(
                    store, this, push, state, attempts=1, error="422: over budget" if "dead" in state else None
                )
        ended = replace(this, ended_at=NOON, outcome=Outcome.SUCCEEDED, listing=Listing.COMPLETE, listed=len(listed))
        await store.finish(ended)
    await store.begin(run("globex"))


@pytest.fixture
def call(shell: Shell, tmp_path: Path) -> Call:
    """Call `adsyncd campaigns` with arguments, on a terminal of 80 columns."""
    sqlite_file(tmp_path, fill)
    shell.environ(COLUMNS="80")
    return partial(shell.call, "campaigns")


def ids(said: Said) -> list[str]:
    assert (said.code, said.err) == (0, "")
    return [one["campaign_id"] for one in json.loads(said.out)]


def test_a_table_says_what_the_platform_listed_and_what_became_of_it(call: Call) -> None:
    said = call("acme")
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines == [
        "campaign name status budget pushed (+01:00) state",
        "cmp-1 Spring sale active 100.50 EUR 2026-11-25 13:00",
        "cmp-2 Brand active dead letter",
        r'cmp-3 =HYPERLINK("http://x","\x1b[31mred\x1b[0m")\nnext -paused -1,234.50 2026-11-25 13:00',
    ]


def test_the_table_fits_a_terminal_of_80_columns(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    said = call("acme")
    lines = re.sub("\x1b[^m]*m", "", said.out).splitlines()
    assert len(lines) > 4  # the long name goes over several
    assert max(map(len, lines)) <= 80
    assert "…" not in said.out


def test_the_first_are_shown_and_how_many_more_there_are(call: Call) -> None:
    said = call("acme", "--limit", "1")
    assert said.out.splitlines()[-1] == "and 2 more: see --limit, or --csv and --json for all"
    assert "cmp-1" in said.out
    assert "cmp-2" not in said.out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["cmp-1", "cmp-2", "cmp-3"]),
        (["--id", "cmp-3"], ["cmp-3"]),
        (["--name", "SPRING"], ["cmp-1"]),
        (["--status", "Active"], ["cmp-1", "cmp-2"]),
        (["--dead"], ["cmp-2"]),
        (["--deleted"], ["gone"]),
        (["--synced-since", "2026-11-25T13:00:00+01:00"], ["cmp-1", "cmp-3"]),
        (["--synced-since", "1h"], []),  # it was at noon of a day that is long over, or to come
        (["--limit", "2"], ["cmp-1", "cmp-2"]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 2000])
def test_filters_narrow_json_which_comes_in_pages(
    call: Call, options: list[str], found: list[str], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "_PAGE", size)
    if "--synced-since" in options:
        monkeypatch.setattr(SystemClock, "now", lambda _: NOON.replace(hour=14))
    assert ids(call("acme", "--json", *options)) == found


def test_json_has_each_campaign_as_the_platform_lists_it(call: Call) -> None:
    said = call("acme", "--json")
    listed = json.loads(said.out)
    assert [line.startswith('{"tenant": "acme", ') for line in said.out.splitlines()] == [
        False,
        True,
        True,
        True,
        False,
    ]
    as_listed = {
        "status": "active",
        "budget": None,
        "currency": "EUR",
        "impressions": 10,
        "clicks": 2,
        "conversions": 1,
    }
    at_noon = "2026-11-25T12:00:00+00:00"
    became = {"synced_at": None, "missing_since": None, "deleted_at": None, "dead_since": at_noon}
    assert listed[1] == {
        "tenant": "acme",
        "campaign_id": "cmp-2",
        "name": "Brand",
        **as_listed,
        "created_at": at_noon,
        **became,
        "reason": "422: over budget",
        "payload": {"id": "cmp-2", "name": "Brand"},
    }
    assert listed[2]["name"] == NASTY


def test_csv_is_that_of_rfc_4180_and_runs_no_formula(call: Call) -> None:
    said = call("acme", "--csv")
    assert (said.code, said.err) == (0, "")
    head, first, _, nasty = csv.reader(io.StringIO(said.out, newline=""))
    assert head == list(campaigns.COLUMNS)
    at_noon = "2026-11-25T12:00:00+00:00"
    assert first == [
        "acme",
        "cmp-1",
        "Spring sale",
        "active",
        "100.5",
        "EUR",
        "10",
        "2",
        "1",
        at_noon,
        at_noon,
        *[""] * 4,
    ]
    assert nasty[2:6] == [r"""'=HYPERLINK("http://x","\x1b[31mred\x1b[0m")\nnext""", "'-paused", "-1234.5", ""]
    assert said.out.count("\r\n") == said.out.count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["globex"], "no campaigns of globex"),
        (["globex", "--deleted"], "no deleted campaigns of globex"),
        (["acme", "--name", "autumn"], "no campaigns of acme match"),
    ],
)
def test_that_there_are_none_is_said(call: Call, arguments: list[str], line: str) -> None:
    assert call(*arguments) == Said(0, f"{line}\n", "")
    assert call(*arguments, "--json") == Said(0, "[]\n", "")
    head = ",".join(campaigns.COLUMNS)
    assert call(*arguments, "--csv").out.splitlines() == [head]


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_typing_mistake_is_met_with_what_was_meant(call: Call, form: list[str]) -> None:
    wrong = 'nothing is stored of a tenant "acne"; did you mean "acme"?'
    said = call("acne", *form)
    if form == ["--json"]:
        assert (said.code, json.loads(said.out)["detail"], said.err) == (1, wrong, "")
    else:
        assert said == Said(1, "", f"error: {wrong}\n")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--csv", "--json"], "choose one of --csv and --json"),
        (["--synced-since", "soon"], "write how long ago it was"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(call: Call, options: list[str], wrong: str) -> None:
    said = call("acme", *options)
    assert said.code == 2
    assert wrong in (said.out if "--json" in options else said.err)


def test_the_store_s_own_settings_are_enough(call: Call, tmp_path: Path) -> None:
    settings = tmp_path / "adsyncd.toml"
    settings.write_text(settings.read_text() + "\n[vault]\naddres = 1\n")
    assert ids(call("acme", "--json")) == ["cmp-1", "cmp-2", "cmp-3"]


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_an_export_holds_a_page_at_a_time_and_prints_it_before_the_next(
    call: Call, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed, read = io.StringIO(), Reader.campaigns
    seen = list[tuple[int, bool]]()

    async def reading(self: Reader, tenant: str, wanted: CampaignFilter, limit: int, *more: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
        seen.append((limit, "cmp-2" in printed.getvalue()))
        return await read(self, tenant, wanted, limit, *more, **options)

    monkeypatch.setattr(campaigns, "_PAGE", 2)
    monkeypatch.setattr(Reader, "campaigns", reading)
    monkeypatch.setattr(sys, "stdout", printed)
    assert call("acme", form).code == 0
    assert seen == [(2, False), (2, True)]
    assert "cmp-3" in printed.getvalue()
