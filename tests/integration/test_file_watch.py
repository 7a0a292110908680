# ruff: noqa: ASYNC240 - files in memory or on a disk nearby, which is what these tests are about
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.config import Settings
from adsyncd.tenants import file_watch
from adsyncd.tenants.file_watch import watch
from support.waiting import until


class Reloads:
    """Stands in for a reloader: what it sees is the TOML files of a folder at each reload, by their names."""

    def __init__(self, folder: Path, *, on: bool = True) -> None:
        self.folder = folder
        self.count = 0
        self.seen: dict[str, str] | None = None
        self.elsewhere = anyio.Event()
        self.settings: Settings
        self.set(on=on)

    def set(self, *, on: bool, folder: str = "tenants.d", profile: str = "") -> None:
        keys: dict[str, object] = {"watch": on, "tenants_dirs": [str(self.folder / folder)]}
        platforms = {"platforms": {"own": {"profile": str(self.folder / profile)}}} if profile else {}
        self.settings = Settings.model_validate(keys | platforms)

    async def reload_until_done(self, *, patient: bool) -> None:
        assert patient
        self.count += 1
        files = [path for path in self.folder.rglob("*.toml") if path.is_file()]
        self.seen = {path.relative_to(self.folder).with_suffix("").as_posix(): path.read_text() for path in files}

    async def sees(self, **files: str) -> None:
        """Wait for a reload that finds exactly these files in `tenants.d`."""
        await self.finds({f"tenants.d/{name}": text for name, text in files.items()})

    async def finds(self, files: dict[str, str]) -> None:
        await until(lambda: self.seen == files)


@asynccontextmanager
async def watching(reloads: Reloads) -> AsyncIterator[Reloads]:
    reloader: Any = reloads
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, reloader, reloads.folder / "adsyncd.toml")
        yield reloads
        ended_at = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - ended_at < 4  # though a thread that watches hears of no cancellation


@pytest.fixture
def reloads(tmp_path: Path) -> Reloads:
    (tmp_path / "tenants.d").mkdir()
    return Reloads(tmp_path)


@pytest.fixture
def drop_in(reloads: Reloads) -> Path:
    return reloads.folder / "tenants.d" / "acme.toml"


def save(path: Path, text: str) -> None:
    """Write as editors do: a new file in the place of the old one."""
    (path.parent / "4913").touch()
    (path.parent / "4913").unlink()
    swap = path.with_name(f".{path.name}.swp")
    swap.write_text(text)
    if path.exists():
        path.rename(path.with_name(f"{path.name}~"))
    swap.rename(path)


async def test_what_changed_before_the_watch_began_is_taken_up(reloads: Reloads, drop_in: Path) -> None:
    drop_in.write_text("1")
    async with watching(reloads):
        await reloads.sees(acme="1")


@pytest.mark.parametrize("write", [Path.write_text, save])
async def test_files_that_come_change_and_go_are_taken_up(
    reloads: Reloads, drop_in: Path, write: Callable[[Path, str], object]
) -> None:
    async with watching(reloads):
        await reloads.sees()
        write(drop_in, "1")
        await reloads.sees(acme="1")
        write(drop_in, "2")
        await reloads.sees(acme="2")
        drop_in.unlink()
        await reloads.sees()


async def test_overrides_are_taken_up(reloads: Reloads) -> None:
    overrides = reloads.folder / "tenants.d" / "acme.toml.d"
    async with watching(reloads):
        await reloads.sees()
        overrides.mkdir()
        (overrides / "10.toml").write_text("1")
        await reloads.sees(**{"acme.toml.d/10": "1"})
        save(overrides / "10.toml", "2")
        await reloads.sees(**{"acme.toml.d/10": "2"})
        shutil.rmtree(overrides)
        await reloads.sees()


async def test_files_that_kubernetes_replaces_are_taken_up(reloads: Reloads, drop_in: Path) -> None:
    for number in "12":
        (drop_in.parent / f"..{number}").mkdir()
        (drop_in.parent / f"..{number}" / "acme.toml").write_text(number)
    (drop_in.parent / "..data").symlink_to("..1")
    drop_in.symlink_to("..data/acme.toml")
    both = {"tenants.d/..1/acme": "1", "tenants.d/..2/acme": "2"}
    async with watching(reloads):
        await reloads.finds(both | {"tenants.d/acme": "1"})
        (drop_in.parent / "..new").symlink_to("..2")
        (drop_in.parent / "..new").rename(drop_in.parent / "..data")
        await reloads.finds(both | {"tenants.d/acme": "2"})


async def test_a_change_of_who_may_write_is_taken_up(reloads: Reloads, drop_in: Path) -> None:
    drop_in.write_text("1")
    async with watching(reloads):
        await reloads.sees(acme="1")
        reloads.seen = None
        drop_in.chmod(0o600)
        await reloads.sees(acme="1")


async def test_what_is_neither_drop_in_nor_settings_is_no_reason_to_reload(reloads: Reloads, drop_in: Path) -> None:
    async with watching(reloads):
        await reloads.sees()
        before = reloads.count
        for name in (".acme.toml.swp", "acme.toml~", "#acme.toml#", "4913", "README", "other.toml"):
            (reloads.folder / name).touch()
            if name != "other.toml":
                drop_in.with_name(name).touch()
        await anyio.sleep(0.5)  # longer than it waits for quiet
        drop_in.write_text("1")
        await reloads.finds({"tenants.d/acme": "1", "other": ""})
        assert reloads.count == before + 1


async def test_many_changes_at_once_are_few_reloads(reloads: Reloads, drop_in: Path) -> None:
    async with watching(reloads):
        await reloads.sees()
        names = [f"t{number}" for number in range(300)]
        for name in names:
            save(drop_in.with_name(f"{name}.toml"), "1")
        await reloads.sees(**dict.fromkeys(names, "1"))
        assert reloads.count < 10


async def test_the_settings_are_watched(reloads: Reloads) -> None:
    config = reloads.folder / "adsyncd.toml"
    async with watching(reloads):
        await reloads.sees()
        config.write_text("1")
        await reloads.finds({"adsyncd": "1"})
        save(config, "2")
        await reloads.finds({"adsyncd": "2"})


@pytest.mark.parametrize("write", [Path.write_text, save])
async def test_profiles_are_watched_in_their_folders(reloads: Reloads, write: Callable[[Path, str], object]) -> None:
    reloads.set(on=True, profile="profiles/own.toml")
    profile = reloads.folder / "profiles" / "own.toml"
    profile.parent.mkdir()
    async with watching(reloads):
        await reloads.finds({})
        write(profile, "1")
        await reloads.finds({"profiles/own": "1"})
        before = reloads.count
        (profile.parent / "other.toml").touch()
        await anyio.sleep(0.5)  # longer than it waits for quiet
        assert reloads.count == before
        write(profile, "2")
        await reloads.finds({"profiles/own": "2", "profiles/other": ""})
        shutil.rmtree(profile.parent)
        await reloads.finds({})
        profile.parent.mkdir()
        write(profile, "3")
        await reloads.finds({"profiles/own": "3"})
        write(profile, "4")
        await reloads.finds({"profiles/own": "4"})


async def test_the_file_that_a_profile_links_to_is_watched(reloads: Reloads) -> None:
    reloads.set(on=True, profile="own.toml")
    real = reloads.folder / "profiles" / "real.toml"
    real.parent.mkdir()
    real.write_text("1")
    (reloads.folder / "own.toml").symlink_to("profiles/real.toml")
    async with watching(reloads):
        await reloads.finds({"own": "1", "profiles/real": "1"})
        real.write_text("2")
        await reloads.finds({"own": "2", "profiles/real": "2"})


async def replace(folder: Path, reloads: Reloads) -> None:
    new = folder.with_name("new")
    new.mkdir()
    folder.rename(folder.with_name("old"))
    new.rename(folder)
    shutil.rmtree(folder.with_name("old"))
    await reloads.finds({})


async def remove_and_make(folder: Path, reloads: Reloads) -> None:
    shutil.rmtree(folder)
    await reloads.finds({})
    folder.mkdir()


@pytest.mark.parametrize("act", [replace, remove_and_make])
async def test_a_directory_that_is_another_is_watched(
    reloads: Reloads, drop_in: Path, act: Callable[[Path, Reloads], Any]
) -> None:
    drop_in.touch()
    async with watching(reloads):
        await reloads.sees(acme="")
        await act(drop_in.parent, reloads)
        drop_in.touch()
        await reloads.sees(acme="")
        drop_in.write_text("1")
        await reloads.sees(acme="1")


@pytest.mark.parametrize("name", ["later", "much/later"])
async def test_a_directory_that_comes_is_watched(reloads: Reloads, name: str) -> None:
    reloads.set(on=True, folder=name)
    folder = reloads.folder / name
    async with watching(reloads):
        await reloads.finds({})
        folder.mkdir(parents=True)
        (folder / "acme.toml").touch()
        await reloads.finds({f"{name}/acme": ""})
        (folder / "acme.toml").write_text("1")
        await reloads.finds({f"{name}/acme": "1"})


async def test_whether_and_where_it_is_watched_changes_with_the_settings(reloads: Reloads, drop_in: Path) -> None:
    other = reloads.folder / "other"
    other.mkdir()
    reloads.set(on=False)
    async with watching(reloads):
        await anyio.sleep(0.3)
        drop_in.touch()
        await anyio.sleep(0.3)
        assert reloads.count == 0
        reloads.set(on=True)
        reloads.elsewhere.set()
        await reloads.sees(acme="")
        reloads.set(on=True, folder="other")
        reloads.elsewhere.set()
        await anyio.sleep(0.5)
        (other / "acme.toml").write_text("1")
        await reloads.finds({"tenants.d/acme": "", "other/acme": "1"})
        reloads.set(on=False)
        reloads.elsewhere.set()
        await anyio.sleep(0.5)
        before = reloads.count
        (other / "acme.toml").write_text("2")
        await anyio.sleep(0.5)
        assert reloads.count == before


async def test_without_a_watch_to_be_had_it_is_said_and_tried_again(
    reloads: Reloads, drop_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_folders: Path, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_watch, "_AGAIN_S", 0.05)
    with capture_logs() as logged, monkeypatch.context() as patch:
        patch.setattr("watchfiles.main.RustNotify", refuse)
        async with watching(reloads):
            await until(lambda: reloads.count >= 3)
            patch.undo()
            await anyio.sleep(0.2)
            drop_in.write_text("1")
            await reloads.sees(acme="1")
    assert {entry["event"] for entry in logged} == {"changes can't be watched: it is tried again"}
