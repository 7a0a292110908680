"""Notifies systemd by sd_notify(3): ready, status, watchdog, reloading, stopping.

Does nothing if `$NOTIFY_SOCKET` is not set or nothing listens there.
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
_FAREWELL = timedelta(seconds=15)  # the longest stop after the drain: cancelling, telemetry's flush


class Notifier:
    """Notifies the service manager that started this process, without blocking the event loop."""

    def __init__(self, channel: socket.socket | None, watchdog: timedelta) -> None:
        self._channel = channel
        self._watchdog = watchdog

    async def ready(self) -> None:
        """Report that the start is complete."""
        await self._send("READY=1")

    async def stopping(self, grace: timedelta) -> None:
        """Report that the stop has begun, and ask for its time: `grace` and the steps after it."""
        extend_us = (grace + _FAREWELL) // timedelta(microseconds=1)
        await self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={extend_us}")

    @asynccontextmanager
    async def reloading(self, clock: Clock) -> AsyncIterator[None]:
        """Report a reload while the block runs."""
        await self._send(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}")
        try:
            yield
        finally:
            await self._send("READY=1")

    async def keep(self, status: Callable[[], str], is_well: Callable[[], bool]) -> None:
        """Report `status()` whenever it changes, and feed the watchdog while `is_well()`. Returns if nobody is told.

        A stalled event loop can't feed it either, so systemd restarts the service in both cases.
        """
        async with anyio.create_task_group() as tasks:
            if self._channel is not None:
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
            await anyio.sleep(every_s if well else min(every_s, _SHOW_S))  # it may be well again before the timeout

    async def _send(self, message: str) -> None:
        if self._channel is None:
            return
        while True:
            try:
                self._channel.send(message.encode())
            except BlockingIOError:  # systemd has not read earlier messages yet
                await anyio.wait_writable(self._channel)
            except OSError:  # systemd is gone
                return
            else:
                return


def status_line(*, tenants: int, runs: int, refused: int, vault: str | None = None) -> str:
    """Return the daemon's status in one line; `vault` is the problem of Vault, if there is one."""
    parts = [counted(tenants, "tenant"), f"{counted(runs, 'run')} in progress"]
    if refused:
        parts.append(f"{counted(refused, 'file')} refused")
    if vault:
        parts.append(vault)
    return "; ".join(parts)


@contextmanager
def open_notifier(environ: Mapping[str, str]) -> Iterator[Notifier]:
    """Yield a notifier for the service manager in `environ`, if there is one. Raises ConfigError."""
    mine = str(os.getpid())
    watched = environ.get("WATCHDOG_PID", mine) == mine  # else the variable is for the parent process
    try:
        watchdog = timedelta(microseconds=int(environ.get("WATCHDOG_USEC", "0"))) if watched else timedelta()
    except (ValueError, OverflowError) as error:
        what, fix = "is not a number of microseconds", "leave it to systemd, or remove it"
        raise ConfigError([Problem(None, None, "WATCHDOG_USEC", what, fix)]) from error
    with _connected(environ) as channel:
        if channel:
            channel.settimeout(0)
        yield Notifier(channel, watchdog)


def tell_failure(error: AdsyncdError, environ: Mapping[str, str]) -> None:
    """Show the first line of the error of a failed start in `systemctl status`."""
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
        except OSError:  # nothing listens
            yield None
        else:
            yield channel
