"""Reloads by itself when settings or drop-ins change, as Linux's inotify(7) tells.

Directories of drop-ins are watched with all that is in them. That one of them comes, goes or is replaced shows only in
the directory around it, which is therefore watched, too, but for nothing else; so are the settings, and profiles.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import structlog
from watchfiles import awatch

from adsyncd.tenants.reload import Reloader

_log = structlog.stdlib.get_logger(__name__)

_QUIET_MS = 200  # an editor's save is several changes: they are taken up when none has come for so long
_AGAIN_S = 30.0
_DATA = "..data"  # the link that Kubernetes replaces when the files of a volume have changed


async def watch(reloader: Reloader, config: Path) -> None:
    """Reload whenever settings, in the file `config`, or drop-ins change, while they say `watch`; until cancelled."""
    while True:
        over = reloader.elsewhere = anyio.Event()
        async with anyio.create_task_group() as tasks:
            try:
                if reloader.settings.watch:
                    folders, profiles = reloader.settings.tenants_dirs, reloader.settings.profiles
                    tasks.start_soon(_watch_drop_ins, folders, over, reloader)
                    tasks.start_soon(_watch_profiles, profiles, over, reloader)
                    tasks.start_soon(_watch_places, folders, profiles, config, over)
                    await anyio.lowlevel.checkpoint()  # in which they begin
                    await reloader.reload_until_done(patient=True)  # what changed before they did
                await over.wait()
            finally:
                over.set()  # the threads that watch hear of no cancellation


async def _watch_drop_ins(folders: Sequence[Path], over: anyio.Event, reloader: Reloader) -> None:
    def is_one(path: Path) -> bool:
        return path.name.endswith((".toml", ".toml.d", _DATA))

    await _follow(_existing(folders), is_one, over, partial(reloader.reload_until_done, patient=True), recursive=True)


async def _watch_profiles(profiles: Sequence[Path], over: anyio.Event, reloader: Reloader) -> None:
    files = {file for profile in profiles for file in (profile, _target(profile))}
    places = {place for file in files for place in (file, file.with_name(_DATA))}
    if folders := _existing({file.parent for file in files}):
        act = partial(reloader.reload_until_done, patient=True)
        await _follow(folders, places.__contains__, over, act, recursive=False)


async def _watch_places(folders: Sequence[Path], profiles: Sequence[Path], config: Path, over: anyio.Event) -> None:
    """Let everything begin anew when a directory of drop-ins or of a profile is another, or the settings are."""
    *folders, config = [path.absolute() for path in (*folders, *{profile.parent for profile in profiles}, config)]
    around = {_existing(folder.parents)[0] for folder in folders}
    places = {config, config.with_name(_DATA), *folders, *(above for folder in folders for above in folder.parents)}

    async def begin_anew() -> None:
        over.set()

    await _follow({config.parent, *around}, places.__contains__, over, begin_anew, recursive=False)


async def _follow(
    folders: Iterable[Path],
    concerns: Callable[[Path], bool],
    over: anyio.Event,
    act: Callable[[], Awaitable[None]],
    *,
    recursive: bool,
) -> None:
    """Act on each change in `folders` that concerns us, until it is `over`."""
    watching = awatch(
        *folders,
        watch_filter=lambda _, path: concerns(Path(path)),
        step=_QUIET_MS,
        stop_event=over,
        recursive=recursive,
        ignore_permission_denied=True,
    )
    try:
        async with aclosing(watching) as changes:
            async for _ in changes:
                await act()
    except OSError as error:  # a folder went away just now, or there is no inotify to be had any more
        _log.error("changes can't be watched: it is tried again", error=str(error), after_s=_AGAIN_S)
        await anyio.sleep(_AGAIN_S)
        over.set()


def _target(link: Path) -> Path:
    return Path(os.path.realpath(link))


def _existing(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if folder.is_dir()]
