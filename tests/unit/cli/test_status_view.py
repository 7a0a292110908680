import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from adsyncd.cli.output import Terminal
from adsyncd.cli.status_view import sentence, tenant_view
from adsyncd.errors import Problem
from adsyncd.model.run import Outcome, Wait
from adsyncd.model.status import RunProgress, State, TenantStatus
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.quota import Shape
from adsyncd.rate.wait import WaitReason
from support.records import NOON, run
from support.zone import in_zone

WRONG = Problem(Path("acme.toml"), 3, "quota", "is no table", "write quota = { ... }")
IDLE = TenantStatus(
    "acme", State.IDLE, "acme-1", "mixo", next_fire_time=NOON + timedelta(minutes=3), permits=10, permits_free=7,
    shape=Shape.BURST,
)  # fmt: skip
RUN = RunProgress(
    "acme-20261125T120000.000Z", NOON - timedelta(minutes=5), announced=40, listed=40, pushed=9, skipped=2, stored=0,
    dead_lettered=0, failed=1, requests=14, retries=3, refused=1, waited_s=61.4, done_at=NOON + timedelta(minutes=16),
)  # fmt: skip
RUNNING = replace(IDLE, state=State.RUNNING, run=RUN)
ENDLESS = replace(RUNNING, run=replace(RUN, done_at=None))
WAITING = replace(RUNNING, state=State.WAITING, wait=Wait(WaitReason.QUOTA, NOON + timedelta(seconds=42)))
DONE = "12 of 40 campaigns are done; at the present quota the rest takes until 12:16:00+00:00, in 16m"
LATE = Verdict(
    "acme", Trouble.LATE, Severity.WARNING, "acme is late: every second tick is skipped.",
    "late: waits for its quota", ("It is due every 2m, and a run takes 2m 2s.", "Nothing fails."),
    ('schedule = { every = "3m" } or less often', "have the platform allow 17 requests per 20s"),
)  # fmt: skip


@pytest.fixture(autouse=True, params=["UTC"])
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Be in a time zone: Greenwich's, unless a test says otherwise."""
    with in_zone(request.param):
        yield


def shown(view: RenderableType, width: int = 160) -> list[str]:
    """Return what no terminal gets to see of a view, line by line."""
    console = Console(file=io.StringIO(), width=width)
    console.print(view, soft_wrap=True)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    return [re.sub(" +", " ", line).strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("tenant", "words"),
    [
        (IDLE, "acme is idle until 12:03:00+00:00, in 3m"),
        (replace(IDLE, next_fire_time=NOON + timedelta(days=3)), "acme is idle until 2026-11-28 12:00+00:00, in 3d"),
        (replace(IDLE, next_fire_time=None), "acme is idle"),
        (WAITING, f"acme waits for the quota until 12:00:42+00:00, in 42s; {DONE}"),
        (
            replace(WAITING, wait=Wait(WaitReason.CREDENTIALS), run=replace(RUN, announced=0, done_at=None)),
            "acme waits for the credentials; its campaigns are not listed yet",
        ),
        (replace(RUNNING, run=None), "acme runs; its campaigns are not listed yet"),
        (ENDLESS, "acme runs; 12 of 40 campaigns are done"),
        (replace(ENDLESS, paused_since=NOON), "acme runs; 12 of 40 campaigns are done; then it pauses"),
        (
            replace(ENDLESS, state=State.DRAINING),
            "acme runs; 12 of 40 campaigns are done; its drop-in is gone, so this is its last run",
        ),
        (
            replace(IDLE, state=State.PAUSED, paused_since=NOON - timedelta(hours=1)),
            "acme is paused since 11:00:00+00:00; resume it with: adsyncd resume acme",
        ),
        (
            replace(IDLE, state=State.ELSEWHERE),
            "acme runs elsewhere: another process works on it; the next tick is at 12:03:00+00:00, in 3m",
        ),
        (
            replace(WAITING, wait=Wait(WaitReason.BREAKER, NOON + timedelta(seconds=42), "ads.example.com: no answer")),
            f"acme waits for the circuit breaker until 12:00:42+00:00, in 42s (ads.example.com: no answer); {DONE}",
        ),
        (TenantStatus("acme", State.DISABLED, "acme", "mixo"), "acme is disabled by its drop-in"),
        (TenantStatus("acme", State.REFUSED), "acme can't run: its files are invalid"),
    ],
)
def test_one_line_says_what_a_tenant_does_and_what_it_waits_for(tenant: TenantStatus, words: str) -> None:
    assert sentence(tenant, NOON) == words


def test_of_a_tenant_that_only_pulls_the_campaigns_are_stored() -> None:
    last = replace(run(number=-1), ended_at=NOON, outcome=Outcome.SUCCEEDED, listed=30, stored=30)
    going = replace(RUN, announced=20, listed=20, pushed=0, skipped=0, stored=20, failed=0, done_at=None)
    tenant = replace(RUNNING, run=going, last_run=last)
    assert sentence(tenant, NOON) == "acme runs; 20 campaigns are done"  # and nobody knows how many there are
    lines = shown(tenant_view(tenant, NOON))
    assert any("since 11:55:00+00:00: 20 stored, 0 failed; 14 requests" in line for line in lines)
    assert any("30 of 30 stored" in line for line in lines)


def test_of_a_tenant_that_pushes_no_more_in_the_midst_of_a_run_both_counts_are_shown() -> None:
    last = replace(run(number=-1), ended_at=NOON, outcome=Outcome.SUCCEEDED, listed=30, pushed=10, stored=20)
    lines = shown(tenant_view(replace(RUNNING, run=replace(RUN, stored=3), last_run=last), NOON))
    assert any("9 pushed, 2 skipped, 3 stored, 0 dead, 1 failed" in line for line in lines)
    assert any("10 of 30 pushed, 20 stored" in line for line in lines)


@pytest.mark.parametrize("state", State)
def test_there_are_words_for_each_state(state: State) -> None:
    assert sentence(replace(WAITING, state=state, paused_since=NOON), NOON).startswith("acme ")
    assert shown(tenant_view(replace(WAITING, state=state), NOON))


@pytest.mark.parametrize(
    ("permits", "free", "words"),
    [
        (10, 0, "0 of 10 are free"),
        (5, -15, "0 of 5 are free; 15 more are out than the quota allows"),
        (1, -1, "0 of 1 is free; 1 more is out than the quota allows"),
        (2000, 1500, "1,500 of 2,000 are free"),
    ],
)
def test_permits_beyond_a_lowered_quota_are_out_and_no_negative_number_is_free(
    permits: int, free: int, words: str
) -> None:
    lines = shown(tenant_view(replace(IDLE, permits=permits, permits_free=free), NOON))
    assert lines[2] == f"permits {words}, shape burst"


def test_of_one_tenant_all_is_shown() -> None:
    last = replace(run(number=-1), ended_at=NOON - timedelta(minutes=7), outcome=Outcome.PARTIAL, listed=3, pushed=2)
    last = replace(last, note="the platform named 5")
    tenant = replace(WAITING, last_run=last, dead_letters=2, error="1 of 3 campaigns were not pushed", refused=(WRONG,))
    assert shown(tenant_view(tenant, NOON))[1:] == [
        "client id acme-1 at mixo",
        "permits 7 of 10 are free, shape burst",
        (
            "run acme-20261125T120000.000Z, since 11:55:00+00:00: 9 pushed, 2 skipped, 0 dead, 1 failed; "
            "14 requests, 3 retries, 1 answered 429, waited 61 s"
        ),
        f"last run partial 7m ago ({last.run_id}): 2 of 3 pushed, trace {last.trace_id}",
        "note the platform named 5",
        "next run 12:03:00+00:00, in 3m",
        "dead letters 2, see adsyncd dead-letters list --tenant acme",
        "error 1 of 3 campaigns were not pushed",
        f"refused {WRONG}",
    ]


@pytest.mark.parametrize(("after", "words"), [(0, "0s"), (-5, "0s"), (0.2, "1s"), (599.5, "10m"), (601, "11m")])
def test_a_time_to_wait_is_never_told_too_short(after: float, words: str) -> None:
    until = NOON + timedelta(seconds=after)
    assert f"in {words};" in sentence(replace(WAITING, wait=Wait(WaitReason.QUOTA, until)), NOON)


@pytest.mark.parametrize("_zone", ["Asia/Tokyo"], indirect=True)
def test_instants_are_local_ones() -> None:
    assert sentence(IDLE, NOON) == "acme is idle until 21:03:00+09:00, in 3m"


@pytest.mark.parametrize("_zone", ["Asia/Tokyo", "America/New_York"], indirect=True)
def test_instants_that_no_daemon_sends_are_shown_all_the_same() -> None:
    for text in ("9999-12-31T23:59:59", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        odd = datetime.fromisoformat(text)
        paused = replace(IDLE, state=State.PAUSED, paused_since=odd, next_fire_time=odd)
        assert sentence(paused, NOON).startswith("acme is paused since ")
        assert shown(tenant_view(paused, NOON))


def test_what_others_wrote_is_escaped_in_every_view() -> None:
    evil = "\x1b]52;c;eA\x07\x9b\u202e\nfake: line [bold]"
    wait = Wait(WaitReason.BREAKER, NOON, evil)
    odd = replace(WAITING, id=evil, wait=wait, error=evil, refused=[replace(WRONG, key=evil)], platform=evil)
    console = Terminal(width=1000)
    with console.capture() as said:
        console.print(tenant_view(odd, NOON), soft_wrap=True)
    lines = said.get().split("\n")
    assert all(line.isprintable() and not line.startswith("fake") for line in lines)
    assert "[bold]" in said.get()


def test_a_late_tenant_says_by_how_much_why_and_what_would_fix_it() -> None:
    going = replace(RUN, late_s=120.4, skipped_ticks=1)
    last = replace(run(), ended_at=NOON, outcome=Outcome.SUCCEEDED, late_s=0.9, skipped_ticks=2)
    lines = shown(tenant_view(replace(RUNNING, run=going, last_run=last, verdict=LATE), NOON), width=200)
    assert lines[1:4] == [
        "verdict acme is late: every second tick is skipped. It is due every 2m, and a run takes 2m 2s. Nothing fails.",
        'fix schedule = { every = "3m" } or less often',
        "or have the platform allow 17 requests per 20s",
    ]
    said = "\n".join(lines)
    assert "waited 61 s, began 2m late, skipped 1 tick\n" in said
    assert "0 of 0 pushed, skipped 2 ticks, trace" in said
