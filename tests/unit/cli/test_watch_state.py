from dataclasses import replace

import pytest

from adsyncd.cli.watch_state import HELP, Drawn, Key, WatchState, foot, keys_in, pressed
from adsyncd.control.paging import MOST
from adsyncd.model.selection import Selection, Show

STATE = WatchState(Selection(platform="mixo"), offset=20)
DRAWN = Drawn(first=20, rows=10)


def after(state: WatchState, *keys: str, drawn: Drawn = DRAWN) -> WatchState:
    for key in keys:
        state = pressed(state, key, drawn)
    return state


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("\x1b[A", Key.UP), ("\x1bOA", Key.UP), ("\x1b[B", Key.DOWN), ("\x1b[5~", Key.PAGE_UP),
        ("\x1b[6~", Key.PAGE_DOWN), ("\x1b[H", Key.HOME), ("\x1b[1~", Key.HOME), ("\x1bOF", Key.END),
        ("\x1b[4~", Key.END), ("\r", Key.ENTER), ("\n", Key.ENTER), ("\x7f", Key.BACKSPACE), ("é", "é"),
        ("\x1b[1;5A", Key.OTHER), ("\x01", Key.OTHER), ("\x1a", Key.OTHER),
    ],
)  # fmt: skip
def test_a_key_is_known_by_what_the_terminal_sends(sent: str, key: str) -> None:
    assert keys_in(f"/{sent}q") == (["/", key, "q"], "")


@pytest.mark.parametrize("rest", ["\x1b", "\x1b[", "\x1b[5", "\x1bO"])
def test_a_sequence_may_arrive_in_pieces(rest: str) -> None:
    assert keys_in(f"a{rest}") == (["a"], rest)
    assert keys_in(rest, whole=True) == ([Key.ESCAPE if rest == "\x1b" else Key.OTHER], "")


@pytest.mark.parametrize(
    ("key", "offset"),
    [
        (Key.UP, 19), (Key.DOWN, 21), (Key.PAGE_UP, 11), (Key.PAGE_DOWN, 29), (Key.HOME, 0), (Key.END, MOST),
        (Key.OTHER, 20), (Key.ENTER, 20), (Key.ESCAPE, 20), ("x", 20),
    ],
)  # fmt: skip
def test_keys_scroll(key: str, offset: int) -> None:
    assert pressed(STATE, key, DRAWN) == replace(STATE, offset=offset)


def test_scrolling_begins_at_what_is_on_the_screen_and_has_two_ends() -> None:
    assert after(replace(STATE, offset=MOST), Key.UP, drawn=Drawn(50, 10)).offset == 49
    assert after(STATE, Key.PAGE_UP, drawn=Drawn(3, 10)).offset == 0
    assert after(STATE, Key.DOWN, drawn=Drawn(MOST, 10)).offset == MOST
    assert after(STATE, Key.PAGE_DOWN, drawn=Drawn(5, 1)).offset == 6


@pytest.mark.parametrize(
    ("key", "kind"), [("f", Show.FAILING), ("l", Show.LATE), ("w", Show.WAITING), ("p", Show.PAUSED)]
)
def test_a_kind_is_chosen_and_left_again_from_the_top(key: str, kind: Show) -> None:
    chosen = after(STATE, key)
    assert chosen == WatchState(Selection(frozenset({kind}), "mixo"), offset=0)
    assert after(chosen, key) == replace(STATE, offset=0)
    assert after(STATE, "f", "l").selection.kinds == {Show.FAILING, Show.LATE}


def test_a_filter_is_typed_corrected_and_ended() -> None:
    typing = after(STATE, *"/quit", Key.UP, Key.BACKSPACE)
    assert typing == replace(STATE, typed="qui")
    filtered = after(typing, Key.ENTER)
    assert filtered == WatchState(Selection(platform="mixo", q="qui"), offset=0)
    assert after(filtered, "/").typed == "qui"
    assert after(filtered, "/", "x", Key.ESCAPE) == filtered
    assert after(filtered, "/", *[Key.BACKSPACE] * 4, Key.ENTER) == replace(STATE, offset=0)
    assert len(after(STATE, "/", *"x" * 300).typed or "") == 100


def test_q_ends_it_except_in_a_filter() -> None:
    assert after(STATE, "q").ended
    assert not after(STATE, "/", "q").ended


def test_it_asks_for_what_is_shown_and_the_next_two_screens() -> None:
    assert STATE.wanted(height=30, most=MOST) == 110
    assert STATE.wanted(height=30, most=50) == 50
    assert replace(STATE, offset=MOST).wanted(height=30, most=5000) == MOST


def test_the_foot_says_which_rows_are_shown_by_which_conditions_and_the_keys() -> None:
    assert foot(WatchState(), DRAWN, 1500) == ("21 to 30 of 1,500", HELP)
    assert foot(WatchState(), Drawn(990, 10), 1500)[0] == "991 to 1,000 of 1,500; a filter shows the others"
    assert foot(WatchState(), Drawn(990, 10), 1000)[0] == "991 to 1,000 of 1,000"
    assert foot(after(WatchState(), "p"), DRAWN, None)[0] == "asking the daemon; only: paused"
    state = after(STATE, "p", "f", *"/shop", Key.ENTER, *"/x")
    assert foot(state, Drawn(0, 0), 0) == (
        'no tenants; only: failing or paused, the platform "mixo" and an id or client id with "shop"',
        "filter, then Enter; empty ends it: shopx_",
    )
