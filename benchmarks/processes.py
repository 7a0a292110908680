"""The processes that benchmarks start. Each runs one of the project's modules, and ends with its block."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_CHANGING = ("ADSYNCD_", "OTEL_", "PYTHONDONTWRITEBYTECODE")


@contextmanager
def started(*command: str, environ: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start `python -m COMMAND`; the caller reads all its output from `stdout`."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**clean_environ(), **(environ or {})},
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def clean_environ() -> dict[str, str]:
    """Return the environment without variables that would change the measured settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_CHANGING)}


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield a process's output, line by line."""
    assert process.stdout is not None
    return iter(process.stdout)


@contextmanager
def running_platform(settings: Mapping[str, object], *options: str) -> Iterator[tuple[str, int]]:
    """Start a mock platform (see `mock_api.settings`); yields its address and its process id."""
    with TemporaryDirectory() as folder:
        config = Path(folder, "platform.json")
        config.write_text(json.dumps(settings))
        with started("mock_api", "--config", str(config), *options) as process:
            yield next(lines(process)).split()[-1], process.pid


@contextmanager
def running_daemon(
    config: Path, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[Iterator[dict[str, Any]], int]]:
    """Start `adsyncd run`; yields its log, event by event, and its process id."""
    with started("adsyncd", "run", "--config", str(config), environ=environ) as process:
        yield _events(lines(process)), process.pid


def _events(output: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in output:
        assert line.startswith("{"), line + "".join(output)  # it crashed
        yield json.loads(line)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_kb(pid: int) -> int:
    """Return the KB of memory that a process has written to (proc(5), Private_Dirty).

    PSS and USS include clean pages of libraries, which count for a process or not depending on other processes.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Private_Dirty: +(\d+) kB$", rollup, re.MULTILINE)
    assert found, rollup
    return int(found[1])
