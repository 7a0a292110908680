"""Runs another program for the length of a block: OpenBao, the mock platform, the daemon.

Each is in a session of its own, so that Ctrl-C reaches this process alone, which then ends the others in order.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, STDOUT

import anyio
from anyio.abc import Process


@asynccontextmanager
async def running(
    command: Sequence[str], log: Path, environ: Mapping[str, str], grace_s: float = 0.0
) -> AsyncIterator[Process]:
    """Start `command` in the folder of `log`, which gets its output, and end it with the block.

    It is asked to end, and killed if it has not done so `grace_s` seconds later; by default it is killed at once.
    """
    async with await anyio.open_file(log, "wb") as output:
        process = await anyio.open_process(
            command,
            stdin=DEVNULL,
            stdout=output.wrapped,
            stderr=STDOUT,
            cwd=log.parent,
            env=environ,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None and grace_s:
                process.terminate()
                with anyio.move_on_after(grace_s):
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.wait()
