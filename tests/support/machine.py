"""A machine with a systemd that has really booted: this one's files under an overlay, in a container of their own.

What is done in it is gone with it. It shares this machine's network, so what listens on 127.0.0.1 here is there, too.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MISSING = "no systemd-nspawn here: apt-get install --no-install-recommends systemd-container dbus; and be root"

_TARGET = """[Unit]
DefaultDependencies=no
Requires=systemd-journald.service systemd-tmpfiles-setup.service dbus.socket
After=systemd-journald.service systemd-tmpfiles-setup.service dbus.socket
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTER = 'for cgroup in $1; do echo $$ > "$cgroup/cgroup.procs"; done; shift; exec "$@"'
_BOOT_S = 60.0
_TMP = Path("/tmp")  # in the machine it is a new one, where the folders above a checkout are missing


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine: the process id of its systemd, and where its files are seen from outside."""

    systemd: int
    root: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root, to its end."""
        enter = ["nsenter", f"--target={self.systemd}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        done = subprocess.run(
            [*enter, *command], check=False, capture_output=True, text=True, env={"PATH": _PATH, "LC_ALL": "C"}
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def path(self, inside: str) -> Path:
        """Return where a file of it is seen from outside; not those of /run, /tmp and /proc."""
        return self.root / inside.lstrip("/")


@contextmanager
def booted(checkout: Path) -> Iterator[Machine]:
    """Yield a machine that has the checkout in its place.

    Where there can't be one, that fails under CI and skips elsewhere.
    """
    if not shutil.which("systemd-nspawn") or os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = _overlay(folder, stack)
        (root / "etc/machine-id").write_text("")
        (root / "etc/systemd/system/tests.target").write_text(_TARGET)
        name = f"adsyncd-{uuid.uuid4().hex[:12]}"
        cgroups = [_cgroup(where, name, stack) for where in _hierarchies()]

        console = stack.enter_context((folder / "console").open("wb"))
        nspawn = subprocess.Popen(
            ["sh", "-c", _ENTER, "sh", " ".join(map(str, cgroups)), *_nspawn(name, root, checkout)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        try:
            yield _ready(nspawn, root, folder / "console")
        finally:
            for child in _children(nspawn.pid):
                os.kill(child, signal.SIGRTMIN + 4)  # systemd's power-off
            try:
                nspawn.wait(20)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()


def _nspawn(name: str, root: Path, checkout: Path) -> Sequence[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--machine={name}",
        f"--directory={root}",
        *(f"--tmpfs={folder}:mode=755" for folder in reversed(checkout.parents) if _TMP in folder.parents),
        f"--overlay={checkout}::{checkout}",
        "--boot",
        "--console=pipe",
        "--resolv-conf=off",
        "--timezone=off",
        "systemd.unit=tests.target",
    ]


def _overlay(folder: Path, stack: ExitStack) -> Path:
    changes = folder / "changes"
    changes.mkdir()
    _mount(stack, changes, "-t", "tmpfs", "tmpfs")
    for name in ("upper", "work", "merged"):
        (changes / name).mkdir()
    layers = f"lowerdir=/,upperdir={changes}/upper,workdir={changes}/work"
    return _mount(stack, changes / "merged", "-t", "overlay", "-o", layers, "overlay")


def _mount(stack: ExitStack, where: Path, *how: str) -> Path:
    subprocess.run(["mount", *how, where], check=True)
    stack.callback(lambda: subprocess.run(["umount", where], check=True))
    return where


def _hierarchies() -> Sequence[Path]:
    """Return where the cgroups are mounted that a systemd needs."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(where) for _, where, kind, options, *_ in mounts if kind == "cgroup2" or "name=systemd" in options]


def _cgroup(hierarchy: Path, name: str, stack: ExitStack) -> Path:
    cgroup = hierarchy / name
    cgroup.mkdir()

    def remove() -> None:
        for inner, *_ in os.walk(cgroup, topdown=False):
            Path(inner).rmdir()

    stack.callback(remove)
    return cgroup


def _ready(nspawn: subprocess.Popen[bytes], root: Path, console: Path) -> Machine:
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline and nspawn.poll() is None:
        for child in _children(nspawn.pid):
            machine = Machine(child, root)
            if machine.run("systemctl", "is-active", "tests.target", check=False).returncode == 0:
                return machine
        time.sleep(0.1)  # and look again, up to the deadline
    raise AssertionError(f"the machine did not boot: {console.read_text()}")


def _children(pid: int) -> Sequence[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
