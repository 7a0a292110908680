"""What is known of the database's health, by what transactions and probes come to, on a clock that a test moves."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from structlog.testing import capture_logs

from adsyncd.errors import LeaseLost
from adsyncd.store import Store, health, sql
from adsyncd.store.health import AGAIN_S, CALM_S, EACH_S, SLOW_S, Health
from support.inline_store import Disk, inline_store
from support.virtual_time import BACKEND

URL = make_url("sqlite:////var/lib/adsyncd/adsyncd.db")


@dataclass(slots=True)
class Hand:
    """A clock that a test moves."""

    now: float = 1000.0
    health: Health = field(init=False)

    def __post_init__(self) -> None:
        self.health = Health(URL, lambda: self.now)

    def transaction(self, error: Exception | None = None, after_s: float = 0.0) -> None:
        self.now += after_s
        self.health.asked()
        self.health.answered(error)


def failure(name: str) -> DBAPIError:
    """Return SQLite's error of that name."""
    cause = sqlite3.OperationalError("it says")
    cause.sqlite_errorname = name
    return OperationalError("INSERT", None, cause)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_a_database_that_was_just_opened_works(hand: Hand) -> None:
    assert hand.health.problem is None
    assert hand.health.due_in_s == EACH_S


def test_an_error_of_the_database_is_told_with_its_fix_until_a_write_succeeds(hand: Hand) -> None:
    hand.transaction(failure("SQLITE_BUSY"))
    assert hand.health.problem == (
        "/var/lib/adsyncd/adsyncd.db: another process keeps it locked; find it (for a file: fuser -v FILE) and end it"
    )
    hand.transaction(after_s=1)
    assert hand.health.problem is None


@pytest.mark.parametrize("error", [IntegrityError("INSERT", None, sqlite3.IntegrityError("no")), LeaseLost("lost")])
def test_a_write_that_is_refused_for_its_own_sake_says_nothing_of_the_database(hand: Hand, error: Exception) -> None:
    hand.transaction(error)
    assert hand.health.problem is None
    hand.transaction(failure("SQLITE_BUSY"))
    hand.transaction(error)
    assert hand.health.cause == sql.LOCKED


def test_a_transaction_that_takes_too_long_is_slow_until_it_ends(hand: Hand) -> None:
    hand.health.asked()
    hand.now += SLOW_S
    assert hand.health.problem is None
    hand.now += 2
    assert hand.health.problem is not None
    assert hand.health.problem.startswith(f"{URL.database}: slow: it has not answered for 7 s; look for a process")
    hand.health.answered(None)
    assert hand.health.problem is None


def test_what_failed_last_is_told_while_the_next_one_is_slow(hand: Hand) -> None:
    hand.transaction(failure("SQLITE_BUSY"))
    hand.health.asked()
    hand.now += SLOW_S + 1
    assert hand.health.cause == sql.LOCKED


@pytest.mark.parametrize(("name", "cause"), [("SQLITE_FULL", sql.FULL), ("SQLITE_CORRUPT", sql.DAMAGED)])
def test_a_cause_that_lets_some_writes_pass_does_not_come_and_go_with_them(hand: Hand, name: str, cause: str) -> None:
    hand.transaction(failure(name))
    for _ in range(20):  # a run tries again each 30 s, and small writes pass in between
        for _ in range(5):
            hand.transaction(after_s=6)
            assert hand.health.cause == cause
        hand.transaction(failure(name))
    hand.transaction(after_s=CALM_S - 1)
    assert hand.health.cause == cause
    hand.transaction(after_s=1)
    assert hand.health.problem is None


def test_a_disk_that_takes_data_again_is_no_longer_full(hand: Hand) -> None:
    hand.transaction(failure("SQLITE_FULL"))
    assert hand.health.is_full
    hand.health.has_room()
    assert hand.health.problem is None
    hand.transaction(failure("SQLITE_CORRUPT"))
    hand.health.has_room()
    assert hand.health.cause == sql.DAMAGED


def test_a_read_that_fails_is_known_as_well(hand: Hand) -> None:
    hand.health.failed(failure("SQLITE_CORRUPT"))
    assert hand.health.problem is not None
    assert "adsyncd check --store" in hand.health.problem
    assert "restore a backup" in hand.health.problem


def test_it_is_probed_only_if_nothing_else_was_written_and_sooner_while_it_fails(hand: Hand) -> None:
    hand.now += EACH_S - 1
    assert hand.health.due_in_s == 1
    hand.transaction()
    assert hand.health.due_in_s == EACH_S
    hand.health.asked()
    hand.now += 100
    assert hand.health.due_in_s > 0  # it has no answer yet
    hand.health.answered(failure("SQLITE_FULL"))
    assert hand.health.due_in_s == 0
    hand.health.probing()
    for _ in range(4):  # other writes put no probe off
        hand.transaction(after_s=AGAIN_S / 4)
    assert hand.health.due_in_s == 0


@dataclass(slots=True)
class Counted:
    """A store that counts its probes."""

    store: Store
    probes: int = 0

    @property
    def health(self) -> Health:
        return self.store.health

    async def probe(self) -> None:
        self.probes += 1
        await self.store.probe()


@pytest.mark.parametrize("anyio_backend", [BACKEND])
async def test_an_idle_daemon_writes_each_ten_seconds_and_learns_of_a_disk_that_goes_and_comes_back() -> None:
    disk = Disk()
    with capture_logs() as logs:
        async with inline_store(disk) as store, anyio.create_task_group() as tasks:
            counted = Counted(store)
            tasks.start_soon(health.keep, counted)
            await anyio.sleep(100)
            assert 8 <= counted.probes <= 10
            assert store.health.problem is None
            disk.gone = True
            await anyio.sleep(EACH_S + 2)
            assert "the disk is gone" in str(store.health.problem)
            before = counted.probes
            await anyio.sleep(30)
            assert 8 <= counted.probes - before <= 15
            disk.gone = False
            await anyio.sleep(AGAIN_S + 2)
            assert store.health.problem is None
            disk.takes_s = 60
            await anyio.sleep(EACH_S + SLOW_S + 3)
            assert "slow: it has not answered for" in str(store.health.problem)
            tasks.cancel_scope.cancel()
    events = [one["event"] for one in logs if "database" in one["event"]]
    assert events == ["database fails", "database works again", "database fails"]


def test_room_is_found_beside_the_database_and_not_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "adsyncd.db"
    file.write_bytes(b"")
    assert health._is_roomy(file)
    assert list(tmp_path.iterdir()) == [file]
    assert not health._is_roomy(tmp_path / "gone" / "adsyncd.db")
