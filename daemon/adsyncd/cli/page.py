"""`adsyncd page`: the daemon's page in a browser."""

import os
import shlex
import signal
import sys
import webbrowser
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Annotated

import anyio
import anyio.to_thread
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Socket
from adsyncd.cli.client import reaching
from adsyncd.cli.forwarder import forwarding
from adsyncd.cli.output import print_line
from adsyncd.config import control_socket, page_socket
from adsyncd.control import wire

_HEALTH = TypeAdapter(wire.Health)
_REMOTE_PORT = 8090


def page(
    config: Config = CONFIG,
    socket: Socket = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1 to serve the page at. Default: a free one."),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Open the daemon's page in a browser on this machine, and serve it there until Ctrl-C.

    Prints the page's address, and the ssh command that brings the page to another machine. Only your own user can use
    the address. Without permission to use control.socket, the page comes from page.socket and takes no commands.

    In an SSH session or without a terminal, only the ssh command is printed; a --port serves the page even so.

    Exits 0; 1 if the port can't be used, 4 if there is no daemon, 5 if it does not answer in time.
    """
    place = socket or _readable(control_socket(config, os.environ), partial(page_socket, config, os.environ))
    anyio.run(_find, place)
    if port is None and (why := no_use(os.environ, is_terminal=sys.stdout.isatty())):
        print_line(f"{why}. On the machine of your browser, run")
        print_line(f"  {_ssh(place)}")
        print_line(f"and open http://127.0.0.1:{_REMOTE_PORT}/")
        return
    anyio.run(_serve, place, port or 0, not no_browser and has_display(os.environ, os.getuid()))


def _readable(control: Path, page: Callable[[], Path | None]) -> Path:
    """Return the control socket, or the page's if this user may use that one alone."""
    if os.access(control, os.W_OK) or not control.exists():
        return control
    other = page()
    return other if other is not None and os.access(other, os.W_OK) else control


async def _find(place: Path) -> None:
    async with reaching(place) as daemon:
        await daemon.ask("GET", "/v1/health", _HEALTH)


async def _serve(place: Path, port: int, browses: bool) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with forwarding(place, users(os.getuid(), os.environ), port) as address:
            print_line(address)
            print_line(f"served to your user until Ctrl-C, from {place}")
            print_line(f"from another machine: {_ssh(place)}, then open http://127.0.0.1:{_REMOTE_PORT}/")
            if browses:
                await anyio.to_thread.run_sync(webbrowser.open, address, abandon_on_cancel=True)
            await anext(signals)


def users(uid: int, environ: Mapping[str, str]) -> frozenset[int]:
    """Return the users that may use the address: this one, and the one who called sudo, whose browser it is."""
    caller = environ.get("SUDO_UID", "")
    return frozenset({uid, int(caller)} if caller.isdecimal() else {uid})


def no_use(environ: Mapping[str, str], *, is_terminal: bool) -> str:
    """Return why an address of this machine is of no use to the user, or nothing."""
    if environ.get("SSH_CONNECTION"):
        return "This is an SSH session, and your browser is elsewhere"
    return "" if is_terminal else "This is not a terminal, so nobody would end it by Ctrl-C"


def has_display(environ: Mapping[str, str], uid: int) -> bool:
    """Return whether a browser of this user can show anything. Root and those whom sudo made have no browser."""
    as_another = uid == 0 or "SUDO_UID" in environ
    return not as_another and bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _ssh(place: Path) -> str:
    return f"ssh -L {_REMOTE_PORT}:{shlex.quote(str(place))} {gethostname()}"
