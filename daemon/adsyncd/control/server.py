"""The control socket and the page's: the file of each, its permissions, and the HTTP server on it.

The daemon binds them first of all, so that a second daemon at the same path fails at once. Clients that connect during
the start wait until it serves.
"""

import grp
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import anyio
import uvicorn
from starlette.types import ASGIApp

from adsyncd.control.connection import LimitedConnection
from adsyncd.errors import ConfigError, Problem
from adsyncd.host.ready_queue import go_first

_MODE = 0o660
_BACKLOG = 64
_AT_ONCE = 64  # connections, and requests in progress; further requests are answered 503
_ANSWERS_WITHIN_S = 1.0
_GRACE_S = 2  # for answers in progress when the daemon stops


@contextmanager
def listening(path: Path, group: str | None, table: str = "control") -> Iterator[socket.socket]:
    """Listen on a Unix socket at `path`; its owner and `group` may connect. The file is removed at the end.

    Replaces the socket of a dead daemon. Raises ConfigError, which names a key of `table`, if the path can't be used or
    a live daemon listens there.
    """
    key = f"{table}.socket"
    _remove_stale(path, key)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise _unusable(path, error, key) from error
        mine = path.stat().st_ino
        try:
            if group is not None:
                _give_to(group, path, f"{table}.group")
            path.chmod(_MODE)  # bind applied the umask
            listener.listen(_BACKLOG)
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:  # else another process has replaced it
                    path.unlink()


def find_problems(path: Path, group: str | None, table: str = "control") -> list[Problem]:
    """Return why the daemon could not listen at `path`, as far as can be told without doing it. Changes nothing."""
    try:
        _see_place(path, f"{table}.socket")
        if group is not None:
            _gid(group, f"{table}.group")
    except ConfigError as error:
        return error.problems
    return []


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve `app` on a listening socket until cancelled."""
    server = _Server(
        uvicorn.Config(
            app,
            http=LimitedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_AT_ONCE,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )

    async def run() -> None:
        go_first()  # connections and answers inherit it
        with anyio.CancelScope(shield=True):  # `should_exit` ends it
            await server.serve([listener])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # signals are the daemon's
        return nullcontext()


def _remove_stale(path: Path, key: str) -> None:
    """Remove the socket of a dead daemon. Raises ConfigError if anything else is there."""
    _see_place(path, key)
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(_ANSWERS_WITHIN_S)
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # alive, but busy
        except OSError as error:
            raise _unusable(path, error, key) from error
    raise _wrong(f"another adsyncd listens at {path}", f"stop it, or configure another {key}", key)


def _see_place(path: Path, key: str) -> None:
    """Raise ConfigError if no socket can be at `path`."""
    if not path.parent.is_dir():
        raise _wrong(
            f"there is no directory {path.parent}",
            "create it (the systemd unit does), or put the socket where the daemon may write",
            key,
        )
    if os.path.lexists(path) and not path.is_socket():
        raise _wrong(f"{path} exists and is not a socket", "remove it, or put the socket elsewhere", key)


def _gid(group: str, key: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise _wrong(f'there is no group "{group}"', f"create it: groupadd --system {group}", key) from error


def _give_to(group: str, path: Path, key: str) -> None:
    try:
        os.chown(path, -1, _gid(group, key))
    except PermissionError as error:
        what, fix = (
            f'the daemon is not a member of "{group}"',
            "add its user to the group (in the unit: SupplementaryGroups=)",
        )
        raise _wrong(what, fix, key) from error


def _unusable(path: Path, error: OSError, key: str) -> ConfigError:
    reason = error.strerror or error
    return _wrong(f"can't listen at {path}: {reason}", "put the socket where the daemon may write", key)


def _wrong(what: str, fix: str, key: str) -> ConfigError:
    return ConfigError([Problem(None, None, key, what, fix)])
