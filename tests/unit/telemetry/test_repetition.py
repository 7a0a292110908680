"""What repeats is said when its reason changes and once an hour."""

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from adsyncd.errors import StoreError
from adsyncd.telemetry.repetition import HOUR_S, Repetition, again_and_again, alike
from support.virtual_time import BACKEND


@pytest.fixture
def anyio_backend() -> object:
    return BACKEND


@pytest.mark.parametrize(
    ("reason", "same"),
    [
        ("3 of 100 campaigns were not pushed", "7 of 99 campaigns were not pushed"),
        ("cmp-0001 was refused at 12:00:01", "cmp-0177 was refused at 13:07:59"),
        ("run 4bf92f35 is open", "run 00f067aa is open"),
    ],
)
def test_numbers_ids_and_times_make_no_other_reason(reason: str, same: str) -> None:
    assert alike(reason) == alike(same)


@pytest.mark.parametrize(
    ("reason", "other"),
    [
        ("the platform answered 503", "the platform answered 401"),
        ("HTTP 500", "HTTP 403"),
        ("no connection", "no answer within 10 s"),
    ],
)
def test_the_status_of_an_answer_and_words_do(reason: str, other: str) -> None:
    assert alike(reason) != alike(other)


def test_it_is_said_once_an_hour_while_it_repeats() -> None:
    said = Repetition()
    minutes = [minute for minute in range(0, 181, 5) if said.is_news("acme", f"no answer in {minute} s", minute * 60)]
    assert minutes == [0, 60, 120, 180]


def test_what_runs_each_six_hours_is_said_each_time() -> None:
    said = Repetition()
    assert all(said.is_news("acme", "no answer", hour * HOUR_S) for hour in range(0, 24, 6))


def test_a_changed_reason_is_said_at_once_and_so_is_the_one_before_when_it_is_back() -> None:
    said = Repetition()
    assert [said.is_news("acme", reason, 0) for reason in ("down", "refused", "refused", "down")] == [
        True,
        True,
        False,
        True,
    ]


def test_subjects_know_nothing_of_each_other_and_what_is_over_is_news_again() -> None:
    said = Repetition()
    assert said.is_news("acme", "down", 0)
    assert said.is_news("globex", "down", 0)
    said.over("acme")
    assert said.is_news("acme", "down", 1)
    assert not said.is_news("globex", "down", 1)


def test_what_is_not_hourly_is_never_said_again() -> None:
    said = Repetition()
    assert [said.is_news("acme", "well", hour * HOUR_S, hourly=False) for hour in range(3)] == [True, False, False]


async def test_what_is_done_again_and_again_outlives_its_errors_and_says_each_once() -> None:
    down, bug = StoreError("adsyncd.db: the disk is full"), RuntimeError("a bug")
    ends = [down, down, None, down, bug, bug, None]
    at = list[float]()

    async def do() -> None:
        at.append(anyio.current_time())
        if error := ends[len(at) - 1]:
            raise error

    log, began = structlog.stdlib.get_logger("adsyncd"), anyio.current_time()
    with capture_logs() as logged, anyio.move_on_after(6 * 30 + 1):
        await again_and_again(do, 30, log, "history not pruned")
    assert [one - began for one in at] == [0, 30, 60, 90, 120, 150, 180]
    assert {entry["event"] for entry in logged} == {"history not pruned"}
    assert [entry["log_level"] for entry in logged] == ["warning", "debug", "warning", "error", "debug"]
    assert logged[0]["error"] == str(down)
    assert logged[3]["exc_info"] is True
