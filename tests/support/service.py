"""adsyncd as it is installed: a service of a booted machine, with its settings, drop-ins, credentials and journal."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from adsyncd.config import Settings
from support.machine import Machine
from support.program import Program

CHECKOUT = Path(__file__).parents[2]
_OVERRIDE = "/etc/systemd/system/adsyncd.service.d/test.conf"


@dataclass(frozen=True, slots=True)
class Service:
    """The service of a machine on which `install` has been done."""

    machine: Machine

    def reset(self) -> None:
        """Make it as it was when it had been installed; its journal is empty."""
        self.machine.run("systemctl", "stop", "adsyncd")
        self.machine.run("systemctl", "reset-failed", "adsyncd", check=False)
        for kept in ("/var/lib/adsyncd", "/etc/adsyncd", "/etc/credstore", str(Path(_OVERRIDE).parent)):
            shutil.rmtree(self.machine.path(kept), ignore_errors=True)
        self.machine.path("/etc/adsyncd/tenants.d").mkdir(parents=True)
        self.override("")
        self.machine.run("journalctl", "--sync", "--rotate")
        self.machine.run("journalctl", "--vacuum-time=1us")

    def settings(self, **tables: Any) -> None:  # noqa: ANN401 - whatever settings hold
        """Write /etc/adsyncd/adsyncd.toml."""
        defaults = Settings()
        places = {
            "tenants_dirs": [str(place) for place in defaults.tenants_dirs],
            "store": {"url": defaults.store.url},
            "control": {"socket": str(defaults.control.socket)},
        }
        self._program.settings(**{**places, **tables})

    def tenant(self, tenant_id: str, **keys: Any) -> None:  # noqa: ANN401 - whatever a drop-in holds
        """Write a drop-in; see `Program.tenant`."""
        self._program.tenant(tenant_id, **keys)

    def credential(self, name: str, content: str) -> None:
        """Put a credential where the unit finds it, for root alone."""
        place = self.machine.path(f"/etc/credstore/{name}")
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.write_text(content)
        place.chmod(0o600)

    def override(self, *lines: str) -> None:
        """Lay lines over the unit's section [Service]; RestartSec is short in any case."""
        place = self.machine.path(_OVERRIDE)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(["[Service]", "RestartSec=100ms", *lines, ""]))
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `systemctl COMMAND adsyncd`."""
        done = self.machine.run("systemctl", "--no-pager", "--full", command, "adsyncd", check=False)
        assert not check or done.returncode == 0, "\n".join(entry["MESSAGE"] for entry in self.journal())
        return done

    def show(self, name: str) -> str:
        """Return a property of the unit, such as `MainPID`."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", "adsyncd").stdout.strip()

    def kill(self, signal: str) -> None:
        """Send its main process a signal."""
        self.machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", "adsyncd")

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the unit's journal since the reset, by what `journalctl` takes: `-p err`, `ADSYNCD_TENANT=acme`."""
        shown = self.machine.run("journalctl", "-u", "adsyncd", "-o", "json", "--all", *matches)
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def command(self, *arguments: str) -> str:
        """Run an `adsyncd` command to its end as the service's own user, and return what it prints."""
        return self.machine.run("runuser", "-u", "adsyncd", "--", "adsyncd", *arguments).stdout

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the service's database, or return nothing before there is one."""
        place = self.machine.path("/var/lib/adsyncd/adsyncd.db")
        if not place.exists():
            return []
        with closing(sqlite3.connect(place)) as database:
            return database.execute(statement).fetchall()

    @property
    def _program(self) -> Program:
        return Program(self.machine.path("/etc/adsyncd"))


def build() -> None:
    """Make what `make install` copies, once for all machines."""
    one_at_a_time = ["flock", str(CHECKOUT / "Makefile")]
    subprocess.run([*one_at_a_time, *make("program")], check=True, capture_output=True)


def make(*targets: str) -> Sequence[str]:
    """Return the command that makes targets with a Python that a service may see, and leaves the environment alone."""
    pythons = [getattr(sys, "_base_executable", sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"]
    python = next(one for one in pythons if Path(one).exists() and not one.startswith(("/home/", "/root")))
    return ["make", "-C", str(CHECKOUT), "-o", ".venv/installed", f"PYTHON={python}", *targets]


async def until(condition: Callable[[], object], within_s: float = 30) -> None:
    """Return once a condition holds, that of a machine's."""
    with anyio.fail_after(within_s):
        while not await anyio.to_thread.run_sync(condition):  # noqa: ASYNC110 - it is outside this process
            await anyio.sleep(0.1)
