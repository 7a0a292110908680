"""Reads the platforms of the settings, each with its profile, again and again.

A profile that can't be used costs its platform nothing that worked: the last good one stays in force. An unchanged file
is not parsed again.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.profile_file import SHIPPED, find_profile, load_profile, shipped_profile
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile
from adsyncd.model.tenant import Platform

_Status = tuple[int, tuple[object, ...]]  # when it last changed, and the rest


@dataclass(frozen=True, slots=True)
class Platforms:
    """The platforms by name, and the problems of those whose profile can't be used.

    Such a platform is in `good` with its last good profile, if there was one. `unsettled`: a bad profile changed just
    now and may be half written.
    """

    good: dict[str, Platform]
    problems: dict[str, tuple[Problem, ...]]
    unsettled: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file was read as, and its status before."""

    status: _Status | None
    settled: bool
    found: Profile | ConfigError


@dataclass(slots=True)
class PlatformReader:
    """Reads platforms repeatedly. An unchanged profile is the same object as before."""

    _files: dict[Path, _Read] = field(default_factory=dict)
    _good: dict[str, tuple[str, Platform]] = field(default_factory=dict)

    def read(self, tables: Mapping[str, PlatformTable], settled_ns: int) -> Platforms:
        """Read all platforms. Files that changed after `settled_ns` may change again with the same status."""
        files = {find_profile(table.profile) for table in tables.values()}
        self._files = {file: self._again(file, settled_ns) for file in sorted(files)}
        found = Platforms(
            {}, {}, any(isinstance(one.found, ConfigError) and not one.settled for one in self._files.values())
        )
        good: dict[str, tuple[str, Platform]] = {}
        for name, table in tables.items():
            try:
                good[name] = table.profile, self._platform(name, table)
            except ConfigError as error:
                found.problems[name] = tuple(error.problems)
                if name in self._good:
                    good[name] = self._last_good(name, table)
        self._good = good
        found.good.update((name, platform) for name, (_, platform) in good.items())
        return found

    def _platform(self, name: str, table: PlatformTable) -> Platform:
        profile = self._files[find_profile(table.profile)].found
        if isinstance(profile, ConfigError):
            raise profile
        return table.platform(name, profile)

    def _last_good(self, name: str, table: PlatformTable) -> tuple[str, Platform]:
        """Return a platform as it was, with the settings as they are unless they name another profile."""
        named, before = self._good[name]
        if named != table.profile:
            return named, before
        try:
            return named, table.platform(name, before.profile)
        except ConfigError:
            return named, before

    def _again(self, file: Path, settled_ns: int) -> _Read:
        """Return what a file is read as, without reading it if it is unchanged."""
        status, before = _status(file), self._files.get(file)
        if before is not None and before.settled and status is not None and before.status == status:
            return before
        settled = status is not None and status[0] < settled_ns
        try:
            profile = shipped_profile(file.stem) if file.parent == SHIPPED else load_profile(file)
        except ConfigError as error:
            return _Read(status, settled, error)
        same = before is not None and before.found == profile
        return _Read(status, settled, before.found if before is not None and same else profile)


def _status(file: Path) -> _Status | None:
    """Return a status that changes with the file, its owner and its permissions; None if there is no file."""
    try:
        seen, folder = file.stat(), file.parent.stat()
        link = os.path.realpath(file)
    except OSError:
        return None
    itself = seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_dev, link
    return seen.st_ctime_ns, (*itself, folder.st_mode, folder.st_uid, folder.st_gid)
