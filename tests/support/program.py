"""The real `adsyncd` as a process, on a folder of its own: its settings, its drop-ins, its commands and its logs."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import Process

# Due when a daemon starts, since it never ran, and not again before a leap day.
ONCE: Mapping[str, Any] = {"cron": "0 0 29 2 *"}
AMPLE: Mapping[str, Any] = {"quota": {"requests": 1000, "per": "60s"}}  # which is never used up


@dataclass(frozen=True, slots=True)
class Program:
    """An installation in `folder`. Its processes see PATH and `environ`, and no other variable."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The settings."""
        return self.folder / "adsyncd.toml"

    def settings(self, base_url: str = "", **tables: Any) -> None:  # noqa: ANN401 - whatever settings hold
        """Write the settings, with the platform `mixo` at `base_url`. All else that they name is in the folder."""
        store = {"url": f"sqlite:///{self.folder}/adsyncd.db"}
        control = {"socket": str(self.folder / "control.sock")}
        files = {"tenants_dirs": [str(self.folder / "tenants.d")], "store": store}
        platforms = {"platforms": {"mixo": {"base_url": base_url}}} if base_url else {}
        _write(self.config, {**files, **platforms, **tables, "control": tables.get("control", control)})

    def tenant(self, tenant_id: str, **keys: Any) -> None:  # noqa: ANN401 - whatever a drop-in holds
        """Write a drop-in. Default: platform `mixo`, the client id its own, credentials in the environment, one run."""
        drop_in = self.folder / "tenants.d" / f"{tenant_id}.toml"
        drop_in.parent.mkdir(exist_ok=True)
        defaults = {"client_id": tenant_id, "platform": "mixo", "schedule": ONCE}
        _write(drop_in, {**defaults, "credentials": {"env": tenant_id.upper()}, **keys})

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, whatever its exit code."""
        return await anyio.run_process(self._command(*arguments), check=False, env=self._environ())

    async def ask(self, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run a command that ends with this exit code, and return what it prints with `--json`."""
        shown = await self.run(*arguments, "--json")
        assert shown.returncode == code, shown.stderr
        return json.loads(shown.stdout)

    async def runs(self) -> dict[str, dict[str, Any]]:
        """Return each tenant's latest run, as `runs --json` prints it."""
        return {run["tenant"]: run for run in reversed(await self.ask("runs", "--limit", "1000"))}

    def control(self) -> httpx.AsyncClient:
        """Return a client of the daemon's control socket, for questions that need no process of a command."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.folder / "control.sock"))
        return httpx.AsyncClient(transport=transport, base_url="http://adsyncd", timeout=30)

    async def status(self, tenant: str, holds: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
        """Return a tenant's status, as the control socket has it, once `holds` says so of it."""
        async with self.control() as control:
            with anyio.fail_after(60):
                while True:
                    found: dict[str, Any] = (await control.get(f"/v1/tenants/{tenant}")).raise_for_status().json()
                    if holds(found):
                        return found
                    await anyio.sleep(0.05)  # between two questions

    async def ended(self, tenant: str, least: int) -> list[dict[str, Any]]:
        """Return a tenant's runs that ended, newest first, once there are so many. Its database is a file."""
        with anyio.fail_after(60):
            while _ended(self.folder / "adsyncd.db", tenant) < least:  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.1)
        return [run for run in await self.ask("runs", tenant) if run["outcome"]]

    @asynccontextmanager
    async def opened(self, *command: str, **streams: Any) -> AsyncIterator[Process]:  # noqa: ANN401 - files or numbers
        """Start a process. What is left of it in the end is killed."""
        async with await anyio.open_process(command, env=self._environ(), **streams) as process:
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()

    @asynccontextmanager
    async def started(self, *options: str, output: int | None = None) -> AsyncIterator["Daemon"]:
        """Start the daemon, which logs to a file or to `output`. What is left of it in the end is killed."""
        log = self.folder / "daemon.log"
        with log.open("ab") as file:
            stream = file if output is None else output
            async with self.opened(*self._command("run", *options), stdout=stream, stderr=stream) as process:
                yield Daemon(process, log)

    @asynccontextmanager
    async def daemon(self, *options: str) -> AsyncIterator["Daemon"]:
        """Run the daemon, and see it stop cleanly in the end."""
        async with self.started(*options) as daemon:
            yield daemon
            assert await daemon.stop() == 0, daemon.log.read_text()

    def _command(self, command: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "adsyncd", command, *arguments, "--config", str(self.config)]

    def _environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **self.environ}


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that runs, or ran."""

    process: Process
    log: Path

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code. Raises TimeoutError when it doesn't."""
        with suppress(ProcessLookupError):  # it has ended already
            self.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            return await self.process.wait()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines that say `event`."""
        lines = [line for line in self.log.read_text().splitlines() if f'"{event}"' in line]
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    async def logs(self, event: str, times: int = 1, within_s: float = 60) -> None:
        """Return once `event` was logged so many times."""
        with anyio.move_on_after(within_s):
            while len(self.events(event)) < times and self.process.returncode is None:  # noqa: ASYNC110 - a file
                await anyio.sleep(0.05)
        assert len(self.events(event)) >= times, self.log.read_text()


def _ended(database: Path, tenant: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM runs WHERE tenant = ? AND outcome IS NOT NULL"
        [(ended,)] = connection.execute(query, [tenant])
    return int(ended)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in document.items()))


def _toml(value: Any) -> str:  # noqa: ANN401 - what JSON and TOML have in common
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
