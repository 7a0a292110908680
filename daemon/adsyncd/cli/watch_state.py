"""The keys of `status --watch`, and what they change: which tenants are shown, and from which row on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from adsyncd.control.paging import MOST
from adsyncd.model.selection import EVERYTHING, Selection, Show

HELP = "arrows PgUp/Dn Home End; / filter; f l w p: failing late waiting paused; q quit"
HELP_OF_ONE = "q quit"  # with a TENANT there is nothing to scroll or filter
_LONGEST_TEXT = 100
_AHEAD = 2  # screens of rows that are known before they are scrolled to
_KINDS = {"f": Show.FAILING, "l": Show.LATE, "w": Show.WAITING, "p": Show.PAUSED}


class Key(StrEnum):
    """A key that is no character."""

    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"
    HOME = "home"
    END = "end"
    ENTER = "enter"
    BACKSPACE = "backspace"
    ESCAPE = "escape"
    OTHER = "other"


# As terminals send them, in both modes of the cursor keys.
_SEQUENCES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), Key.UP),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), Key.DOWN),
    "\x1b[5~": Key.PAGE_UP,
    "\x1b[6~": Key.PAGE_DOWN,
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), Key.HOME),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), Key.END),
    **dict.fromkeys(("\r", "\n"), Key.ENTER),
    **dict.fromkeys(("\x7f", "\b"), Key.BACKSPACE),
    "\x1b": Key.ESCAPE,
}
_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[@-~]|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(O|\[[0-?]*[ -/]*)?\Z")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows on the screen: how many, and how many tenants come before them."""

    first: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class WatchState:
    """What a watch is to show: the tenants of `selection`, from the row `offset` on, or the last ones if it is larger.

    `typed`: the text of a filter that is not complete yet, None while nobody types one. `ended`: the watch is over.
    """

    selection: Selection = EVERYTHING
    offset: int = 0
    typed: str | None = None
    ended: bool = False

    def wanted(self, height: int, most: int) -> int:
        """Return how many tenants to ask for, `most` at most, on a screen of `height` lines."""
        return max(min(self.offset + (1 + _AHEAD) * height, most, MOST), 1)


def keys_in(text: str, *, whole: bool = False) -> tuple[Sequence[str], str]:
    """Return the keys in what a terminal sent, and the begin of a sequence whose rest has not arrived.

    If the text is `whole`, no rest will arrive: an escape character at its end is the key Escape.
    """
    if whole:
        return [_key(text)] if _UNFINISHED.fullmatch(text) else list(map(_key, _KEY.findall(text))), ""
    rest = found.group() if (found := _UNFINISHED.search(text)) else ""
    return [_key(sent) for sent in _KEY.findall(text.removesuffix(rest))], rest


def _key(sent: str) -> str:
    return _SEQUENCES.get(sent) or (sent if sent.isprintable() else Key.OTHER)


def pressed(state: WatchState, key: str, drawn: Drawn) -> WatchState:
    """Return what is to be shown after a key; `drawn` is what was on the screen."""
    if state.typed is not None:
        return _typing(state, state.typed, key)
    if (offset := _scrolled_to(key, drawn)) is not None:
        return replace(state, offset=offset)
    if kind := _KINDS.get(key):
        return replace(state, selection=replace(state.selection, kinds=state.selection.kinds ^ {kind}), offset=0)
    match key:
        case "/":
            return replace(state, typed=state.selection.q or "")
        case "q":
            return replace(state, ended=True)
    return state


def _scrolled_to(key: str, drawn: Drawn) -> int | None:
    """Return the row to begin with after a key that scrolls, None after another."""
    page = max(drawn.rows - 1, 1)  # a row of the last page stays
    steps: dict[str, int] = {
        Key.UP: -1,
        Key.DOWN: 1,
        Key.PAGE_UP: -page,
        Key.PAGE_DOWN: page,
        Key.HOME: -MOST,
        Key.END: MOST,
    }
    step = steps.get(key)
    return None if step is None else min(max(drawn.first + step, 0), MOST)


def _typing(state: WatchState, typed: str, key: str) -> WatchState:
    match key:
        case Key.ENTER:
            return replace(state, selection=replace(state.selection, q=typed.strip() or None), typed=None, offset=0)
        case Key.ESCAPE:
            return replace(state, typed=None)
        case Key.BACKSPACE:
            return replace(state, typed=typed[:-1])
        case _ if len(key) == 1:
            return replace(state, typed=(typed + key)[:_LONGEST_TEXT])
    return state


def foot(state: WatchState, drawn: Drawn, total: int | None) -> tuple[str, str]:
    """Return the last two lines: which of `total` tenants are shown, and the keys or the text that is typed.

    `total` is None while the tenants on the screen are those of an earlier selection.
    """
    shown = "asking the daemon" if total is None else _shown(drawn, total)
    kinds = " or ".join(sorted(state.selection.kinds))
    conditions = [*([kinds] if kinds else []), *([words] if (words := state.selection.in_words()) else [])]
    where = f"; only: {', '.join(conditions)}" if conditions else ""
    keys = HELP if state.typed is None else f"filter, then Enter; empty ends it: {state.typed}_"
    return shown + where, keys


def _shown(drawn: Drawn, total: int) -> str:
    if not drawn.rows:
        return "no tenants"
    last = drawn.first + drawn.rows
    others = "; a filter shows the others" if MOST <= last < total else ""
    return f"{drawn.first + 1:,} to {last:,} of {total:,}{others}"
