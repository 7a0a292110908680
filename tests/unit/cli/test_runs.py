"""`adsyncd runs`, called in this process as the shell calls it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adsyncd.cli import output
from adsyncd.model.run import Outcome, Run
from adsyncd.rate.wait import WaitReason
from adsyncd.store import Store
from support.commands import COLOUR, Call, Said, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import run

KEYS = [
    "tenant", "run_id", "fire_time", "started_at", "ended_at", "outcome", "listed", "pushed", "skipped", "stored",
    "dead_lettered", "failed", "requests", "retries", "refused", "waited_s", "waits", "late_s", "skipped_ticks",
    "trace_id", "error", "note",
]  # fmt: skip


def record(folder: Path, *runs: Run) -> None:
    """Keep runs in the store, as they ended or open."""

    async def keep(store: Store) -> None:
        for each in runs:
            await store.begin(replace(each, ended_at=None, outcome=None))
            if each.outcome:
                await store.finish(each)

    in_store(sqlite_file(folder), keep)


def a_run(tenant: str = "acme", number: int = 0, **changes: object) -> Run:
    """A run that pushed 97 of 100 campaigns."""
    began = run(tenant, number)
    ended = replace(
        began,
        ended_at=began.started_at + timedelta(minutes=2, seconds=3.4),
        outcome=Outcome.PARTIAL,
        listed=100,
        pushed=97,
        failed=2,
        dead_lettered=1,
        requests=117,
        retries=7,
        waited_s=12.34567,
        error="3 of 100 campaigns were not pushed, the first because [red]no[/] answer",
    )
    return replace(ended, **changes)  # type: ignore[arg-type]  # fields of a run


def test_runs_as_json_have_the_keys_of_the_contract_newest_first(call: Call, folder: Path) -> None:
    late = a_run(waits={WaitReason.QUOTA: 12.3, WaitReason.STORE: 0.0456}, late_s=120.00123, skipped_ticks=1)
    record(folder, late, a_run("globex", 1, outcome=None, ended_at=None, error=None), a_run(number=2))
    said = call("runs", "--json")
    printed = json.loads(said.out)
    assert said.code == 0
    assert [list(each) for each in printed] == [KEYS] * 3
    assert [each["run_id"] for each in printed] == [run(*of).run_id for of in (("acme", 2), ("globex", 1), ("acme", 0))]
    assert printed[2] == {
        "tenant": "acme",
        "run_id": "acme-20261125T120000.000Z",
        "fire_time": "2026-11-25T12:00:00+00:00",
        "started_at": "2026-11-25T12:00:00+00:00",
        "ended_at": "2026-11-25T12:02:03.400000+00:00",
        "outcome": "partial",
        "listed": 100,
        "pushed": 97,
        "skipped": 0,
        "stored": 0,
        "dead_lettered": 1,
        "failed": 2,
        "requests": 117,
        "retries": 7,
        "refused": 0,
        "waited_s": 12.346,
        "waits": {"quota": 12.3, "database": 0.046},
        "late_s": 120.001,
        "skipped_ticks": 1,
        "trace_id": "0" * 32,
        "error": "3 of 100 campaigns were not pushed, the first because [red]no[/] answer",
        "note": None,
    }
    assert (printed[1]["outcome"], printed[1]["ended_at"]) == (None, None)


def test_runs_of_a_tenant_and_a_limit(call: Call, folder: Path) -> None:
    record(folder, a_run(number=0), a_run("globex", 1), a_run(number=2))
    assert [each["tenant"] for each in json.loads(call("runs", "globex", "--json").out)] == ["globex"]
    assert len(json.loads(call("runs", "--json", "--limit", "2").out)) == 2
    assert call("runs", "--limit", "0").code == 2


def test_runs_are_a_plain_table_with_trace_ids_where_there_is_no_terminal(call: Call, folder: Path) -> None:
    record(folder, a_run(), a_run("globex", 1, outcome=None, ended_at=None, error=None))
    said = call("runs")
    assert COLOUR not in said.out
    header, opened, ended, error = said.out.splitlines()
    assert header.split() == [
        *("tenant", "due", "(+01:00)", "took", "outcome", "pushed", "not", "pushed"),
        *("requests", "retries", "429s", "trace", "id"),
    ]
    assert opened.split() == ["globex", "2026-11-25", "13:15:00", "open", "0/0", f"{1:032x}"]
    assert ended.split() == [
        *("acme", "2026-11-25", "13:00:00", "2m3s", "partial", "97/100"),
        *("2", "failed,", "1", "dead", "117", "7", "0", "0" * 32),
    ]
    assert error == f"{run().run_id}: 3 of 100 campaigns were not pushed, the first because [red]no[/] answer"


def test_the_note_of_a_run_stands_below_the_table(call: Call, folder: Path) -> None:
    record(folder, a_run(error=None, note="the platform named [b]45 campaigns in all and listed 30"))
    assert call("runs").out.splitlines()[2:] == [
        f"{run().run_id}: the platform named [b]45 campaigns in all and listed 30"
    ]


@pytest.mark.parametrize(("columns", "has_trace_ids"), [(80, False), (119, False), (120, True)])
def test_a_table_fits_its_terminal(
    columns: int, has_trace_ids: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "new_console", lambda: output.Terminal(width=columns))
    output.print_runs([a_run("a-tenant-with-a-name-of-the-longest-that-there-can-be-of-63-chars", error=None), a_run()])
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines() if not line.startswith("acme-2026")) <= columns
    assert "97/100" in said
    assert "2m3s" in said
    assert ("0" * 32 in said) is has_trace_ids
    assert ("trace ids: --json" in said) is not has_trace_ids


def test_the_days_of_a_tenant_are_shown_newest_first_with_their_last_errors(call: Call, folder: Path) -> None:
    day = 24 * 4
    succeeded = a_run(number=1, outcome=Outcome.SUCCEEDED, failed=0, dead_lettered=0, error=None)
    record(folder, a_run(number=-day), a_run(number=0, skipped=3), succeeded, a_run("globex", 1))
    said = call("runs", "acme", "--daily")
    header, today, yesterday, *errors = said.out.splitlines()
    assert header.split() == [
        *("day", "(UTC)", "runs", "not", "succeeded", "pushed", "not", "pushed"),
        *("requests", "retries", "429s", "waited", "longest", "run"),
    ]
    assert today.split() == [
        *("2026-11-25", "2", "1", "partial", "194/200", "3", "skipped,", "2", "failed,", "1", "dead"),
        *("234", "14", "0", "25s", "2m3s"),
    ]
    assert yesterday.split()[:4] == ["2026-11-24", "1", "1", "partial"]
    assert errors == [
        f"2026-11-{day}: 3 of 100 campaigns were not pushed, the first because [red]no[/] answer" for day in (25, 24)
    ]
    printed = json.loads(call("runs", "acme", "--daily", "--json", "--limit", "1").out)
    assert printed == [
        {
            "tenant": "acme",
            "day": "2026-11-25",
            "runs_succeeded": 1,
            "runs_partial": 1,
            "runs_failed": 0,
            "runs_abandoned": 0,
            "listed": 200,
            "pushed": 194,
            "skipped": 3,
            "stored": 0,
            "dead_lettered": 1,
            "failed": 2,
            "requests": 234,
            "retries": 14,
            "refused": 0,
            "skipped_ticks": 0,
            "waited_s": 24.691,
            "longest_s": 123.4,
            "error": "3 of 100 campaigns were not pushed, the first because [red]no[/] answer",
        }
    ]


def test_days_are_of_one_tenant_that_exists(call: Call, folder: Path) -> None:
    record(folder)
    said = call("runs", "--daily")
    assert (said.code, "name the TENANT" in said.err) == (2, True)
    assert call("runs", "amce", "--daily").err == 'error: there is no tenant "amce"; did you mean "acme"?\n'
    assert call("runs", "acme", "--daily") == Said(0, "no runs of acme yet\n", "")


def test_no_runs_are_no_failure(call: Call, folder: Path) -> None:
    record(folder)
    assert call("runs") == Said(0, "no runs yet\n", "")
    assert call("runs", "acme") == Said(0, "no runs of acme yet\n", "")
    assert call("runs", "--json") == Said(0, "[]\n", "")


def test_no_runs_of_a_tenant_that_is_not_there_are_a_mistake(call: Call, folder: Path) -> None:
    record(folder)
    assert call("runs", "amce") == Said(1, "", 'error: there is no tenant "amce"; did you mean "acme"?\n')
    record(folder, a_run("amce"))  # it was there
    assert call("runs", "amce").code == 0


def test_runs_that_began_late_or_skipped_ticks_say_so(call: Call, folder: Path) -> None:
    record(folder, a_run(late_s=0.9), a_run(number=1, late_s=120.4, skipped_ticks=1), a_run(number=2, skipped_ticks=3))
    header, *lines = call("runs").out.splitlines()[:4]
    assert header.split()[3:5] == ["late", "took"]
    assert [line.split()[3:-11] for line in lines] == [["skipped", "3"], ["2m,", "skipped", "1"], []]


def test_days_on_which_ticks_were_skipped_say_so(call: Call, folder: Path) -> None:
    record(folder, a_run(number=-96), a_run(number=0, skipped_ticks=2), a_run(number=1, skipped_ticks=3))
    header, today, yesterday = call("runs", "acme", "--daily").out.splitlines()[:3]
    assert header.endswith("skipped ticks")
    assert (today.split()[-1], yesterday.split()[-1]) == ("5", "0")


def test_an_error_that_runs_share_is_printed_once_with_their_number_and_first_tenants(call: Call, folder: Path) -> None:
    refused = [a_run(name, number, error="connection refused") for number, name in enumerate("abcde")]
    others = [a_run("a", 5, error="connection refused"), a_run("a", 6, error="other")]
    record(folder, *refused, *others, *(a_run(name, 7, error=None, note="a note") for name in "fg"))
    assert [line for line in call("runs").out.splitlines() if ": " in line] == [
        "2 runs of g, f: a note",
        "a-20261125T133000.000Z: other",
        "6 runs of a, e, d and 2 more: connection refused",
    ]


def test_the_two_runs_of_one_tenant_name_it_once(call: Call, folder: Path) -> None:
    record(folder, a_run(error="refused"), a_run(number=1, error="refused"))
    assert call("runs").out.splitlines()[-1] == "2 runs of acme: refused"


def test_runs_are_sorted_by_the_time_that_is_shown(call: Call, folder: Path) -> None:
    first = a_run(number=0, error=None)
    resumed = replace(first, started_at=first.started_at + timedelta(hours=5), late_s=18000.0)
    record(folder, resumed, a_run(number=1, error=None))
    header, *lines = call("runs").out.splitlines()
    assert header.split()[1] == "due"
    assert [line.split()[2] for line in lines] == ["13:15:00", "13:00:00"]


def numbers(said: Said) -> list[tuple[str, str]]:
    """Return the tenants of runs as JSON, and the minutes of their fire times."""
    assert said.code == 0, said.err
    return [(each["tenant"], each["fire_time"][11:16]) for each in json.loads(said.out)]


def test_runs_are_selected_by_time_outcome_and_tenants(call: Call, folder: Path) -> None:
    add_tenant(folder, "shop-1")
    record(
        folder,
        a_run(),
        a_run("shop-1", 1, outcome=Outcome.FAILED),
        a_run("shop-2", 2, outcome=None, ended_at=None, error=None),  # a removed one
        a_run("acme", 3, outcome=Outcome.FAILED),
    )
    noon = "2026-11-25T12:00:00Z"
    times = ("--since", noon.replace("12:00", "12:15"), "--until", noon.replace("12:00", "12:45"))
    assert numbers(call("runs", "--json", *times)) == [("shop-2", "12:30"), ("shop-1", "12:15")]
    assert numbers(call("runs", "--json", "--outcome", "failed")) == [("acme", "12:45"), ("shop-1", "12:15")]
    assert numbers(call("runs", "--json", "-o", "open", "-o", "partial")) == [("shop-2", "12:30"), ("acme", "12:00")]
    assert numbers(call("runs", "--json", "--match", "shop-*", "-o", "failed")) == [("shop-1", "12:15")]
    assert numbers(call("runs", "--json", "--platform", "mixo", "-n", "2")) == [("acme", "12:45"), ("shop-1", "12:15")]
    assert numbers(call("runs", "acme", "--json", "--until", noon.replace("12:00", "12:01"))) == [("acme", "12:00")]


def test_no_such_runs_are_no_mistake_but_a_pattern_without_a_tenant_is_one(call: Call, folder: Path) -> None:
    record(folder, a_run(), a_run("gone"))
    assert call("runs", "--outcome", "failed") == Said(0, "no such runs\n", "")
    assert call("runs", "gone", "--outcome", "failed") == Said(0, "no such runs of gone\n", "")
    assert call("runs", "acme", "--since", "2026-11-26T00:00:00Z") == Said(0, "no such runs of acme\n", "")
    said = call("runs", "--match", "shp-*")
    assert said == Said(1, "", 'error: no tenant has an id that matches "shp-*"; adsyncd status lists all\n')
    assert call("runs", "amce", "--since", "2h").err == 'error: there is no tenant "amce"; did you mean "acme"?\n'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("acme", "--match", "a*"), "name a TENANT, or select tenants"),
        (("acme", "--daily", "--since", "2h"), "take no other selection"),
        (("show", "acme-2026", "--outcome", "failed"), "take no other selection"),
        (("--since", "yesterday"), "write how long ago it was"),
        (("--outcome", "faled"), "is not one of"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    call: Call, folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    record(folder, a_run())
    said = call("runs", *arguments)
    assert said.code == 2
    assert words in " ".join(said.err.replace("│", " ").split())


def test_a_mistake_in_other_settings_keeps_no_run_back(call: Call, folder: Path) -> None:
    record(folder, a_run())
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write("[vault]\naddres = 1\n")
    for options in ((), ("acme",), ("--match", "a*"), ("--outcome", "partial")):
        assert numbers(call("runs", "--json", *options)) == [("acme", "12:00")]
