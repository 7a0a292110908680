"""A real daemon whose database fails, and one with a hundred tenants due at once: what it tells, how soon, how true."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx
import pytest

from adsyncd.clock import SystemClock
from adsyncd.store.sqlite_file import RESTORE
from support.damaged import damage
from support.platform import Platform
from support.program import AMPLE, Daemon, Program

MANY = 100
SOON_S = {"/v1/health": 0.2, "/v1/status": 0.5}
BUSY_S = 5.0  # each answer, also where other programs have the machine


async def until(control: httpx.AsyncClient, *, ready: bool, within_s: float = 90) -> httpx.Response:
    """Wait until the daemon is ready, or is not, and return how it says so."""
    with anyio.fail_after(within_s):
        while (answer := await control.get("/v1/ready")).is_success is not ready:  # noqa: ASYNC110 - as a monitor does
            await anyio.sleep(0.2)
    return answer


async def test_a_hundred_tenants_that_begin_at_once_keep_nobody_from_seeing_it(
    program: Program, platform: Platform
) -> None:
    await platform.treat(push_latency_s=0.2)
    program.settings(platform.base_url, defaults=AMPLE)
    for number in range(MANY):
        program.tenant(f"t{number:03}", client_id="acme", credentials={"env": "ACME"})
    clock, took = SystemClock(), {path: list[float]() for path in SOON_S}
    async with program.started() as daemon, program.control() as control:
        await daemon.logs("ready")
        for _ in range(20):
            for path, found in took.items():
                began = clock.monotonic()
                (await control.get(path)).raise_for_status()
                found.append(clock.monotonic() - began)
            await anyio.sleep(0.1)
        shown = await program.ask("status")
        assert sum(shown["daemon"]["tenants"].values()) == MANY
        assert shown["daemon"]["store"] is None
        daemon.process.kill()
    for path, found in took.items():
        assert median(found) < SOON_S[path], took
        assert max(found) < BUSY_S, took


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 32 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", place], check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def log_of(daemon: Daemon) -> list[str]:
    """Return what the log says of the database's health, in order."""
    entries = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    return [one["event"] for one in entries if one["event"] in {"database fails", "database works again"}]


async def test_a_full_disk_is_told_without_a_flicker_until_there_is_room_again(
    program: Program, platform: Platform, disk: Path
) -> None:
    file = disk / "adsyncd.db"
    program.settings(platform.base_url, defaults=AMPLE, store={"url": f"sqlite:///{file}"})
    for number in range(20):
        program.tenant(f"t{number:03}", client_id="acme", credentials={"env": "ACME"}, schedule={"every": "2s"})
    async with program.daemon() as daemon, program.control() as control:
        await daemon.logs("ready")
        await until(control, ready=True)
        fill(disk / "filler")
        answer = await until(control, ready=False)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == f"{file}: the disk is full; free space there: runs go on by themselves"
        for _ in range(40):  # small writes pass on a full disk now and then
            assert (await control.get("/v1/ready")).status_code == 503
            await anyio.sleep(0.2)
        assert (await control.get("/v1/health")).is_success
        said = (await program.run("status")).stdout.decode()
        assert f"database: {file}: the disk is full; free space there" in " ".join(said.split())
        (disk / "filler").unlink()
        await until(control, ready=True, within_s=20)
        status: dict[str, Any] = (await control.get("/v1/status")).json()
        assert status["store"] is None
        await daemon.logs("database works again")
        assert log_of(daemon) == ["database fails", "database works again"]


def fill(file: Path) -> None:
    """Fill the disk to the last byte."""
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError:
                continue


def restore(backup: Path, file: Path) -> None:
    """Put a backup in a database's place."""
    for one in file.parent.glob(f"{file.name}*"):
        one.unlink()
    backup.rename(file)


async def test_damage_is_told_with_its_fix_and_a_restored_file_serves_again(
    program: Program, platform: Platform, tmp_path: Path
) -> None:
    file, backup = tmp_path / "adsyncd.db", tmp_path / "backup.db"
    program.settings(platform.base_url, defaults=AMPLE)
    program.tenant("acme", schedule={"every": "2s"})
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        await program.ended("acme", 1)
    shutil.copy(file, backup)
    async with program.started() as daemon, program.control() as control:
        await daemon.logs("ready", 2)
        await until(control, ready=True)
        damage(file)
        answer = await until(control, ready=False)
        assert "it is damaged; see adsyncd check --store" in answer.json()["detail"]
        assert RESTORE in answer.json()["detail"]
        said = (await program.run("status")).stdout.decode()
        assert f"database: {file}: it is damaged; see adsyncd check --store" in " ".join(said.split())
        daemon.process.kill()
        await daemon.process.wait()
    restore(backup, file)
    async with program.daemon() as daemon, program.control() as control:
        await daemon.logs("ready", 3)
        await until(control, ready=True)
