"""The control socket itself: who may come in, and how it is served as long as the daemon lives.

It is taken before anything else of the daemon is, so that a second one at the same place is found out at once; who
connects while the daemon starts waits until it serves.
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

from adsyncd.control.connection import Connection
from adsyncd.errors import ConfigError, Problem

_MODE = 0o660
_BACKLOG = 64
_AT_ONCE = 64  # connections and requests: where adsyncd is at work on so many, more are answered 503
_ANSWERS_WITHIN_S = 1.0
_FAREWELL_S = 2  # for answers that are under way when the daemon stops


@contextmanager
def listening(path: Path, group: str | None) -> Iterator[socket.socket]:
    """Listen on a Unix socket at `path`, whose owner and `group` may connect; it is removed in the end.

    What a daemon left behind that died is replaced. Raises ConfigError, also if a daemon that lives listens there.
    """
    _make_way(path)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise _unusable(path, error) from error
        mine = path.stat().st_ino
        try:
            if group is not None:
                _give_to(group, path)
            path.chmod(_MODE)  # bind left it to the umask
            listener.listen(_BACKLOG)
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:  # else somebody else's stands there by now
                    path.unlink()


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve `app` on a socket that listens, until cancelled."""
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_AT_ONCE,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_FAREWELL_S,
        )
    )

    async def run() -> None:
        with anyio.CancelScope(shield=True):  # ends in order, by `should_exit`
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


def _make_way(path: Path) -> None:
    """Remove the socket of a daemon that died. Raises ConfigError if there is something else."""
    if not path.parent.is_dir():
        raise _wrong(
            f"there is no directory {path.parent}",
            "create it (the systemd unit does), or put the socket where the daemon may write",
        )
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise _wrong(f"{path} is there, and no socket", "remove it, or put the socket elsewhere")
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(_ANSWERS_WITHIN_S)
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # it lives, and is busy
        except OSError as error:
            raise _unusable(path, error) from error
    raise _wrong(f"another adsyncd listens at {path}", "stop it, or give each one a socket of its own")


def _give_to(group: str, path: Path) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise _wrong(f'there is no group "{group}"', f"create it: groupadd --system {group}", "group") from error
    except PermissionError as error:
        what, fix = f'the daemon is no member of "{group}"', "let its user be one (in the unit: SupplementaryGroups=)"
        raise _wrong(what, fix, "group") from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    return _wrong(f"can't listen at {path}: {error.strerror or error}", "put the socket where the daemon may write")


def _wrong(what: str, fix: str, key: str = "socket") -> ConfigError:
    return ConfigError([Problem(None, None, f"control.{key}", what, fix)])
