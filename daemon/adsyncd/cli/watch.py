"""`adsyncd status --watch`: redraws each second and after each key, and leaves the terminal as it was."""

import os
import signal
import sys
import termios
import tty
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live

from adsyncd.cli.client import Refused
from adsyncd.cli.output import styled
from adsyncd.cli.status_view import tenant_view
from adsyncd.cli.tenants_view import Seen, scrolled
from adsyncd.cli.watch_state import HELP_OF_ONE, Drawn, WatchState, foot, keys_in, pressed
from adsyncd.clock import SystemClock
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon
from adsyncd.model.selection import Selection
from adsyncd.model.status import TenantStatus

_REFRESH_S = 1.0
_SEQUENCE_S = 0.1  # the rest of a key's sequence arrives within this time
_FEET = 2  # lines below the table

Look = Callable[[Selection, int], Awaitable[Seen | TenantStatus]]


class Watch:
    """What a watch knows and shows. `look` asks the daemon for so many of the selected tenants, or for one tenant."""

    def __init__(self, console: Console, look: Look, state: WatchState, most: int) -> None:
        self._console = console
        self._look = look
        self._begun_with = state.selection
        self._state = state
        self._most = most
        self._drawn = Drawn()
        self._known: Seen | TenantStatus | AdsyncdError | None = None
        self._failure: AdsyncdError | None = None
        self._keys = False
        self._of_one = False

    async def show(self, keyboard: int | None) -> None:
        """Show it until q, Ctrl-C or SIGTERM. Raises as the first look does, and Refused if there is no such tenant."""
        self._known = await self._look(self._state.selection, self._wanted())
        self._of_one = isinstance(self._known, TenantStatus)
        self._keys = keyboard is not None
        with (
            anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGWINCH) as signals,
            _keys_at_once(keyboard),
            Live(self._view(), console=self._console, auto_refresh=False, screen=True) as live,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._refresh, live, tasks.cancel_scope)
                if keyboard is not None:
                    tasks.start_soon(self._read, keyboard, live, tasks.cancel_scope)
                async for number in signals:
                    if number != signal.SIGWINCH:
                        tasks.cancel_scope.cancel()
                    self._draw(live)
        if self._failure is not None:
            raise self._failure

    def _wanted(self) -> int:
        return self._state.wanted(self._console.height, self._most)

    async def _refresh(self, live: Live, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(_REFRESH_S)
            selection = self._state.selection
            try:
                self._known = await self._look(selection, self._wanted())
            except (NoDaemon, DaemonBusy) as error:  # the daemon may be restarting
                self._known = error
            except AdsyncdError as error:
                if not isinstance(error, Refused) or selection == self._begun_with:
                    self._failure = error
                    scope.cancel()
                    return
                self._known = error  # of a filter that was typed
            self._draw(live)

    async def _read(self, keyboard: int, live: Live, scope: anyio.CancelScope) -> None:
        decoder, rest = getincrementaldecoder("utf-8")("replace"), ""
        while not self._state.ended:
            sent = b""
            with anyio.move_on_after(_SEQUENCE_S if rest else None):
                await anyio.wait_readable(keyboard)
                sent = _read_of(keyboard)
                if not sent:
                    break  # the terminal is gone
            keys, rest = keys_in(rest + decoder.decode(sent), whole=not sent)
            for key in keys:
                if self._of_one and key != "q":
                    continue
                self._state = pressed(self._state, key, self._drawn)
                self._draw(live)
        scope.cancel()

    def _draw(self, live: Live) -> None:
        live.update(self._view(), refresh=True)

    def _view(self) -> RenderableType:
        total: int | None = 0
        match self._known:
            case TenantStatus() as tenant:
                body = tenant_view(tenant, SystemClock().now())
            case Seen() as seen:
                body, first, rows = scrolled(seen, self._console, self._state.offset, self._console.height - _FEET)
                self._drawn = Drawn(first, rows)
                total = seen.total if seen.selection == self._state.selection else None
            case error:
                body = styled(str(error), "red")
                self._drawn = Drawn(self._drawn.first, 0)
        where, keys = foot(self._state, self._drawn, total)
        keys = HELP_OF_ONE if self._of_one else keys
        feet = [styled(line, "dim") for line in ([where] * isinstance(self._known, Seen) + [keys] * self._keys)]
        for line in feet:
            line.no_wrap, line.overflow = True, "crop"
        return Group(body, *feet)


@contextmanager
def _keys_at_once(keyboard: int | None) -> Iterator[None]:
    """Have a terminal hand over each key when it is pressed, and not show it. Afterwards it is as before."""
    if keyboard is None:
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        modes = termios.tcgetattr(keyboard)
        modes[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the shell with these modes
        termios.tcsetattr(keyboard, termios.TCSADRAIN, modes)
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _read_of(keyboard: int) -> bytes:
    try:
        return os.read(keyboard, 1024)
    except OSError:  # the terminal is gone
        return b""


def keyboard_of_process() -> int | None:
    """Return standard input if it is a terminal."""
    return sys.stdin.fileno() if sys.stdin.isatty() else None
