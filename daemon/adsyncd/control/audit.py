"""The record of commands in the log: who sent which, and what became of it."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import structlog
from starlette.requests import Request

from adsyncd.control.peer import peer_of
from adsyncd.errors import AdsyncdError, CommandRefused, Stopping

_log = structlog.stdlib.get_logger(__name__)


@contextmanager
def recorded(
    request: Request, command: str, tenant: str = "", notes: MutableMapping[str, Any] | None = None
) -> Iterator[None]:
    """Log a command once the block is over, with its outcome; also one that the stop of the daemon cuts short.

    `notes`: what the block adds to the line; an `outcome` in it stands for `done`.
    """
    more = {} if notes is None else notes
    of = {"tenant": tenant} if tenant else {}
    peer = peer_of(request)
    by = {f"peer_{name}": value for name, value in asdict(peer).items()} if peer else {}
    outcome, why = "cut short", {}
    try:
        yield
        outcome = more.pop("outcome", "done")
    except (CommandRefused, Stopping) as error:
        outcome, why = "refused", {"error": str(error)}
        raise
    except Exception as error:
        outcome, why = "failed", {"error": str(error) if isinstance(error, AdsyncdError) else repr(error)}
        raise
    finally:
        _log.info("command", command=command, outcome=outcome, **of, **more, **why, **by)
