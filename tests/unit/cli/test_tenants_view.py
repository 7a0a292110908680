import io
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from adsyncd.cli.output import Terminal
from adsyncd.cli.tenants_view import Seen, scrolled, tenants_view
from adsyncd.control.overview import Cause
from adsyncd.errors import Problem
from adsyncd.model.run import Outcome, Wait
from adsyncd.model.selection import EVERYTHING, Selection, Show
from adsyncd.model.status import DaemonStatus, Export, State, TenantStatus, VaultState, VaultStatus
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.wait import WaitReason
from support.records import NOON, run

IDLE = TenantStatus(
    "acme", State.IDLE, "acme-1", "mixo", next_fire_time=NOON + timedelta(minutes=3), permits=10, permits_free=7
)
WAITING = replace(IDLE, state=State.WAITING, wait=Wait(WaitReason.QUOTA, NOON + timedelta(seconds=42)))
LATE = Verdict("acme", Trouble.LATE, Severity.WARNING, "acme is late.", "late: waits for its quota", (), ())
DAEMON = DaemonStatus(
    "0.1.0", NOON - timedelta(days=2), stopping=False, tenants={State.IDLE: 1}, runs=0,
    refused=(), vault=None, breakers=(), store=None, counts={Show.ALL: 1},
)  # fmt: skip
REFUSED = Cause(
    Severity.CRITICAL, Show.FAILING, "the platform answered 503", "ask the platform", ["a", "b", "c", "d"], 40, NOON
)
SEEN = Seen(DAEMON, [], [IDLE], 1, EVERYTHING, NOON)
MANY = [replace(IDLE, id=f"tenant-{number:03}") for number in range(100)]


def shown(seen: Seen, *, width: int = 200, height: int = 50, fits: bool = False) -> list[str]:
    """Return the lines of a terminal, without the padding of columns."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=height)
    console.print(tenants_view(seen, console, fits=fits))
    assert all(len(line) <= width for line in screen.getvalue().splitlines())
    return [re.sub(" +", " ", line).strip() for line in screen.getvalue().splitlines()]


def test_a_summary_counts_what_fails() -> None:
    counts = {Show.ALL: 5000, Show.FAILING: 40, Show.LATE: 12, Show.PAUSED: 3, Show.RUNNING: 60, Show.NEAR_QUOTA: 2}
    states = {State.IDLE: 4937, State.RUNNING: 60, State.PAUSED: 3}
    daemon = replace(DAEMON, tenants=states, counts=counts, stopping=True)
    assert shown(replace(SEEN, daemon=daemon, total=5000))[:2] == [
        "5,000 tenants: 40 failing, 12 late, 2 near their quota, 3 paused, 60 running",
        "adsyncd 0.1.0 since 2026-11-23 13:00+01:00, stopping: 4,937 idle, 60 running, 3 paused",
    ]


def test_a_daemon_without_tenants_and_one_where_nothing_is_wrong_say_so() -> None:
    assert shown(SEEN)[0] == "1 tenant: nothing is wrong"
    assert shown(replace(SEEN, daemon=replace(DAEMON, tenants={}, counts={}), tenants=[], total=0)) == [
        "no tenants",
        "adsyncd 0.1.0 since 2026-11-23 13:00+01:00",
    ]


def test_instants_that_no_daemon_sends_are_shown_all_the_same() -> None:
    for text in ("9999-12-31T23:59:59", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        odd = datetime.fromisoformat(text)
        paused = replace(IDLE, state=State.PAUSED, paused_since=odd, next_fire_time=odd)
        assert shown(replace(SEEN, daemon=replace(DAEMON, since=odd), tenants=[paused]))[1].startswith("adsyncd 0.1.0")


def test_a_selection_says_how_many_it_has() -> None:
    lines = shown(replace(SEEN, selection=Selection(platform="mixo"), total=7))
    assert lines[2] == "7 of them are selected"
    assert lines[-1] == "and 6 more: --limit N, --all, or a selection such as --failing"


def test_each_cause_is_told_once_with_its_number_its_first_tenants_and_its_fix() -> None:
    late = Cause(Severity.WARNING, Show.LATE, LATE.reason, "", ["acme"], 1, None)
    assert shown(replace(SEEN, causes=[REFUSED, late]))[2:4] == [
        "40 failing: a, b, c and 37 more: the platform answered 503; ask the platform",
        "1 late: acme: late: waits for its quota",
    ]


def test_the_daemon_s_own_troubles_follow() -> None:
    daemon = replace(
        DAEMON,
        refused=[Problem(None, 3, "quota", "is no table", "write quota = { ... }")],
        vault=VaultStatus(VaultState.SEALED, NOON - timedelta(minutes=2), "unseal it"),
        breakers=["ads: nothing but failures"],
        store="the disk is full",
        telemetry={"traces": Export(cause="HTTP 503"), "metrics": Export(succeeded=True)},
    )
    lines = shown(replace(SEEN, daemon=daemon, causes=[REFUSED]))
    assert lines[3:8] == [
        str(daemon.refused[0]),
        "circuit breaker open: ads: nothing but failures",
        "Vault: sealed since 12:58:00+01:00: unseal it",
        "database: the disk is full",
        "telemetry: traces are being lost: HTTP 503",
    ]
    assert lines[8].startswith("tenant state ")


def test_errors_that_no_cause_has_are_told_once() -> None:
    tenants = [replace(IDLE, id=f"t{number}", error="[red]503") for number in range(5)]
    told = replace(IDLE, error="as the cause says", verdict=LATE)
    lines = shown(replace(SEEN, tenants=[*tenants, told], total=6))
    assert lines[2] == "t0, t1, t2 and 2 more: [red]503"
    assert not any("as the cause says" in line for line in lines)


def test_a_row_says_what_a_tenant_waits_for_and_how_its_last_run_ended() -> None:
    last = replace(run(), outcome=Outcome.SUCCEEDED, ended_at=NOON - timedelta(seconds=84))
    over = replace(IDLE, id="globex", permits_free=-15, permits=5, dead_letters=2, turn=3, verdict=LATE, last_run=last)
    lines = shown(replace(SEEN, tenants=[WAITING, over], total=2))
    assert lines[2:] == [
        "tenant state waits for campaigns done in next in last run permits dead letters",
        "acme waiting quota 42s 3m 7/10",
        "globex idle turn to begin 3m succeeded 1m24s ago, late 0/5 2",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 12), (200, 50)])
def test_a_terminal_is_filled_and_nothing_scrolls_out_of_it(width: int, height: int) -> None:
    causes = [replace(REFUSED, reason=f"reason {number} " * 12) for number in range(30)]
    lines = shown(replace(SEEN, causes=causes, tenants=MANY, total=5000), width=width, height=height, fits=True)
    assert len(lines) == height - 1
    more = next(line for line in lines if line.endswith("more: --limit N, --all, or a selection such as --failing"))
    rows = sum(line.startswith("tenant-") for line in lines)
    assert more.startswith(f"and {5000 - rows:,} more")
    assert any(re.match(r"and \d+ more causes: adsyncd status --all", line) for line in lines)


def test_long_names_take_lines_from_the_table() -> None:
    tenants = [replace(each, id=f"{each.id}-{'x' * 50}") for each in MANY]
    lines = shown(replace(SEEN, tenants=tenants, total=100), width=80, height=24, fits=True)
    assert len(lines) <= 23
    assert len([line for line in lines if line.startswith("tenant-")]) >= 3


def test_without_a_limit_of_lines_all_is_shown() -> None:
    lines = shown(replace(SEEN, tenants=MANY, total=100, causes=[REFUSED] * 30))
    assert len(lines) == 2 + 30 + 1 + 100


def test_80_columns_fit_the_names_of_tenants_and_dead_letters() -> None:
    busy = replace(WAITING, wait=Wait(WaitReason.PLATFORM_QUOTA, NOON + timedelta(seconds=42)))
    last = replace(run(), outcome=Outcome.SUCCEEDED, ended_at=NOON - timedelta(seconds=84))
    tenants = [replace(busy, last_run=last), replace(IDLE, id="globex", state=State.ELSEWHERE, last_run=last)]
    lines = shown(replace(SEEN, tenants=tenants, total=2), width=80)
    assert lines[2] == "tenant state waits for campaigns done in next in last run"
    assert [line.split()[0] for line in lines if line.startswith(("acme ", "globex "))] == ["acme", "globex"]
    tenants = [replace(IDLE, dead_letters=2)]
    assert "dead letters" in shown(replace(SEEN, tenants=tenants), width=80)[2]


def test_what_others_wrote_is_escaped() -> None:
    evil = "\x1b]52;c;eA\x07\x9b\u202e\nfake: line [bold]"
    odd = replace(WAITING, id=evil, wait=Wait(WaitReason.BREAKER, NOON, evil), error=evil)
    daemon = replace(
        DAEMON,
        refused=[Problem(None, None, evil, evil, evil)],
        breakers=[evil],
        store=evil,
        vault=VaultStatus(VaultState.DOWN, NOON, evil),
        version=evil,
    )
    seen = replace(SEEN, daemon=daemon, tenants=[odd], causes=[replace(REFUSED, reason=evil, tenants=[evil])])
    console = Terminal(width=1000)
    with console.capture() as said:
        console.print(tenants_view(seen, console, fits=False), soft_wrap=True)
    lines = said.get().split("\n")
    assert all(line.isprintable() and not line.startswith("fake") for line in lines)
    assert "[bold]" in said.get()
    with console.capture() as said:
        console.print(scrolled(seen, console, 0, 40)[0], soft_wrap=True)
    assert all(line.isprintable() for line in said.get().split("\n"))


def rows_from(seen: Seen, offset: int, *, width: int = 200, height: int = 12) -> list[str]:
    """Return the ids of the table's rows after scrolling; the view fits into the height, and counts its rows."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=height)
    body, first, rows = scrolled(seen, console, offset, height)
    console.print(body, end="")
    lines = screen.getvalue().splitlines()
    assert len(lines) <= height
    ids = [line.split()[0] for line in lines if line.startswith("tenant-")]
    assert [tenant.id for tenant in seen.tenants[first : first + rows]] == ids
    return ids


def test_the_table_scrolls_to_its_last_row_and_no_further() -> None:
    many = replace(SEEN, tenants=MANY, total=100)
    assert rows_from(many, 0) == [f"tenant-{number:03}" for number in range(9)]  # with two lines above, and the heads
    assert rows_from(many, 50) == [f"tenant-{number:03}" for number in range(50, 59)]
    assert rows_from(many, 95) == rows_from(many, 1000) == [f"tenant-{number:03}" for number in range(91, 100)]
    assert rows_from(many, 1000, width=80)[-1] == "tenant-099"
    assert rows_from(replace(SEEN, tenants=MANY[:3], total=3), 2) == ["tenant-000", "tenant-001", "tenant-002"]
    assert rows_from(replace(SEEN, tenants=[], total=0), 7) == []


def test_what_is_wrong_leaves_room_for_the_rows_that_are_scrolled() -> None:
    breakers = [f"host-{number}: nothing but failures" for number in range(40)]
    ill = replace(SEEN, daemon=replace(DAEMON, breakers=breakers), causes=[REFUSED] * 30, tenants=MANY, total=100)
    assert len(rows_from(ill, 0, height=24)) == 7
    assert rows_from(ill, 1000, height=24)[-1] == "tenant-099"
    assert rows_from(ill, 1000, width=80, height=10)[-1] == "tenant-099"
