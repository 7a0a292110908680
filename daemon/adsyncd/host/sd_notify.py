"""What systemd is told, by sd_notify(3): that adsyncd is ready, how it stands, that it is alive, that it is to stop.

Where nobody asked for it (`$NOTIFY_SOCKET` is not set), nothing is said; nor where nobody listens.
"""

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta

import anyio

from adsyncd.clock import Clock
from adsyncd.errors import AdsyncdError, ConfigError, Problem
from adsyncd.escaping import escaped
from adsyncd.model.status import counted

_SHOW_S = 1.0  # between two lines of status
_FAREWELL = timedelta(
    seconds=15
)  # what a stop takes at most after the runs have drained: cancelling, telemetry's flush


class Notifier:
    """Speaks to the service manager that started this process, and never waits for it with the event loop."""

    def __init__(self, channel: socket.socket | None, watchdog: timedelta) -> None:
        self._channel = channel
        self._watchdog = watchdog

    async def ready(self) -> None:
        """Say that the start is over."""
        await self._send("READY=1")

    async def stopping(self, grace: timedelta) -> None:
        """Say that the stop has begun, and ask for the time that it may take: `grace`, and what comes after."""
        extend_us = (grace + _FAREWELL) // timedelta(microseconds=1)
        await self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={extend_us}")

    @asynccontextmanager
    async def reloading(self, clock: Clock) -> AsyncIterator[None]:
        """Say that a reload goes on for as long as the block lasts."""
        await self._send(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}")
        try:
            yield
        finally:
            await self._send("READY=1")

    async def keep(self, status: Callable[[], str], is_well: Callable[[], bool]) -> None:
        """Show `status()` whenever it changes, and feed the watchdog for as long as `is_well()`; never returns.

        A stalled event loop can't feed it either, so systemd restarts the service in both cases.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._show, status)
            if self._watchdog:
                tasks.start_soon(self._feed, self._watchdog.total_seconds() / 2, is_well)

    async def _show(self, status: Callable[[], str]) -> None:
        shown = None
        while True:
            if (current := status()) != shown:
                await self._send(f"STATUS={current}")
                shown = current
            await anyio.sleep(_SHOW_S)

    async def _feed(self, every_s: float, is_well: Callable[[], bool]) -> None:
        while True:
            if well := is_well():
                await self._send("WATCHDOG=1")
            await anyio.sleep(every_s if well else min(every_s, _SHOW_S))  # what is amiss may be over in time

    async def _send(self, message: str) -> None:
        if self._channel is None:
            return
        while True:
            try:
                self._channel.send(message.encode())
            except BlockingIOError:  # systemd has yet to read what it was told before
                await anyio.wait_writable(self._channel)
            except OSError:  # it is gone
                return
            else:
                return


def status_line(*, tenants: int, runs: int, refused: int, vault: str | None = None) -> str:
    """Return how the daemon stands in one line; `vault` says what is wrong with Vault, if anything is."""
    parts = [counted(tenants, "tenant"), f"{counted(runs, 'run')} going"]
    if refused:
        parts.append(f"{counted(refused, 'file')} refused")
    if vault:
        parts.append(vault)
    return "; ".join(parts)


@contextmanager
def open_notifier(environ: Mapping[str, str]) -> Iterator[Notifier]:
    """Open the way to the service manager that `environ` names, or to nobody. Raises ConfigError."""
    mine = str(os.getpid())
    watched = environ.get("WATCHDOG_PID", mine) == mine  # or else a process that started this one
    try:
        watchdog = timedelta(microseconds=int(environ.get("WATCHDOG_USEC", "0"))) if watched else timedelta()
    except (ValueError, OverflowError) as error:
        what, fix = "is no number of microseconds", "leave it to systemd, or leave it out"
        raise ConfigError([Problem(None, None, "WATCHDOG_USEC", what, fix)]) from error
    with _connected(environ) as channel:
        if channel:
            channel.settimeout(0)
        yield Notifier(channel, watchdog)


def tell_failure(error: AdsyncdError, environ: Mapping[str, str]) -> None:
    """Let `systemctl status` show why a start failed, by the error's first line."""
    number = errno.EINVAL if isinstance(error, ConfigError) else errno.EIO
    with _connected(environ) as channel:
        if channel:
            with suppress(OSError):
                channel.send(f"STATUS={escaped(str(error).partition(chr(10))[0])}\nERRNO={number}".encode())


@contextmanager
def _connected(environ: Mapping[str, str]) -> Iterator[socket.socket | None]:
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        except OSError:  # nobody listens
            yield None
        else:
            yield channel
