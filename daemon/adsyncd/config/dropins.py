"""Tenants from drop-in files, in the manner of systemd's: one file a tenant, overrides in a folder beside it.

One bad file rejects one tenant. Reading blocks: call it in a thread. What looks as it did the last time is not parsed
again, so that one change among ten thousand files costs little.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adsyncd.clock import Clock, SystemClock
from adsyncd.config import Settings, TenantFile
from adsyncd.config.diagnostics import Fault, faults, in_order, spelled
from adsyncd.config.permissions import Custodians
from adsyncd.config.toml_file import MAX_DROP_IN_BYTES, TomlFile, place, read_toml, unreadable
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.schedule import trigger
from adsyncd.model.tenant import TENANT_ID, Cron, Tenant

_ID = re.compile(TENANT_ID)
_CHOICES = {"schedule", "credentials"}  # each states one kind out of several: tables of two kinds can't be merged
_ITSELF = "put the drop-in itself there"
_SETTLED_S = 1.0


@dataclass(frozen=True, slots=True)
class Tenants:
    """What the drop-ins say: good tenants and the problems of bad ones, each by tenant id and in its order.

    `directories` are problems of the directories themselves. While there is one, a tenant that is in neither `good`
    nor `bad` may still exist. `unsettled`: some that are bad or masked changed just now, and may be half written.
    `idle` are overrides that are of no account, since there is no such tenant: no problem, but perhaps a slip.
    """

    good: dict[str, Tenant]
    bad: dict[str, list[Problem]]
    directories: list[Problem]
    unsettled: bool = field(default=False, compare=False)
    idle: list[Problem] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        """All problems, by file and line."""
        return sorted([*self.directories, *(one for several in self.bad.values() for one in several)], key=in_order)


@dataclass(slots=True)
class _Sources:
    """The files of one tenant: later directories have taken the place of earlier ones, by file name."""

    main: Path | None = None
    overrides: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def looks(self) -> "Looks":
        """Return what changes whenever one of the files does, but for changes in the same instant."""
        paths = [path for path in (self.main, *self.overrides.values()) if path is not None]
        return tuple((path, _look(path)) for path in paths), tuple(self.problems)


Look = tuple[int, int, int, int, int]
Looks = tuple[tuple[tuple[Path, Look | None], ...], tuple[Problem, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files of a tenant say, and how they looked before they were read. Masked: no tenant, no problems.

    `settled`: had they changed since, they would not look the same.
    """

    looks: Looks
    settled: bool
    tenant: Tenant | None
    problems: list[Problem]


def read_tenants(settings: Settings) -> Tenants:
    """Read all tenants in `settings.tenants_dirs` once. Raises nothing: what is wrong is in the result."""
    return DropIns(SystemClock()).read(settings)


class DropIns:
    """All drop-ins, to be read again and again: a tenant of whom nothing has changed is the same object again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._basis: tuple[object, ...] = ()
        self._known: dict[str, _Known] = {}

    def read(self, settings: Settings) -> Tenants:
        """Read all tenants in `settings.tenants_dirs`. Raises nothing: what is wrong is in the result."""
        settled_at = self._clock.now().timestamp() - _SETTLED_S
        basis = (settings.platforms, settings.defaults, _mount(settings))
        before = self._known if basis == self._basis else {}
        custodians = Custodians(os.geteuid())
        sources, directories = _find(settings.tenants_dirs, custodians)
        reader = _Reader(settings, custodians, settled_at)
        known = {
            tenant_id: reader.known(tenant_id, source, before.get(tenant_id))
            for tenant_id, source in sorted(sources.items())
            if source.main is not None
        }
        self._basis, self._known = basis, known
        unsettled = any(not one.settled and one.tenant is None for one in known.values())
        tenants = Tenants({}, {}, directories, unsettled, list(_idle(sources)))
        metered: dict[tuple[str, str], Tenant] = {}
        for tenant_id, one in known.items():
            if one.problems:
                tenants.bad[tenant_id] = one.problems
            elif one.tenant is not None:
                first = metered.setdefault((one.tenant.platform.name, one.tenant.client_id), one.tenant)
                if first.quota == one.tenant.quota:
                    tenants.good[tenant_id] = one.tenant
                else:
                    tenants.bad[tenant_id] = reader.disagreement(sources[tenant_id], first)
        return tenants


class _Reader:
    """Reads one tenant after another. Files that changed later than `settled_at` may change without looking so."""

    def __init__(self, settings: Settings, custodians: Custodians, settled_at: float) -> None:
        self._defaults = settings.defaults.model_dump(exclude_unset=True)
        self._platforms = {name: table.platform(name) for name, table in settings.platforms.items()}
        self._mount = _mount(settings)
        self._custodians = custodians
        self._settled_ns = int(settled_at * 1e9)
        self._crontabs: dict[Cron, str | None] = {}

    def known(self, tenant_id: str, source: _Sources, before: _Known | None) -> _Known:
        """Return what is known of a tenant `before`, or read it."""
        looks = source.looks()
        if before is not None and before.settled and before.looks == looks:
            return before
        settled = all(look is not None and look[0] < self._settled_ns for _, look in looks[0])
        try:
            return _Known(looks, settled, self._tenant(tenant_id, source), [])
        except ConfigError as error:
            return _Known(looks, settled, None, error.problems)

    def disagreement(self, source: _Sources, first: Tenant) -> list[Problem]:
        """Say that a tenant's quota is not that of the `first` one of its client id."""
        what = f'differs from that of tenant "{first.id}", which has the same platform and client_id'
        fault = Fault(("quota",), what, "both are metered as one: state the same quota")
        try:
            files = self._files(source)
        except ConfigError as error:  # they have changed meanwhile
            return error.problems
        return [self._located(fault, files)] if files else [Problem(source.main, None, "quota", what, fault.fix)]

    def _tenant(self, tenant_id: str, source: _Sources) -> Tenant | None:
        """Return the tenant, or None if it is masked. Raises ConfigError."""
        if not _ID.fullmatch(tenant_id):
            what, fix = "its name is no tenant's id", "use at most 63 of a-z, 0-9 and -, such as acme.toml"
            raise ConfigError([Problem(source.main, None, None, what, fix)])
        files = self._files(source)
        if not files:
            return None
        found, tenant = self._build(tenant_id, files)
        if tenant is None:
            raise ConfigError(sorted((self._located(fault, files) for fault in found), key=in_order))
        return tenant

    def _files(self, source: _Sources) -> list[TomlFile]:
        """Read a tenant's file and its overrides; there are none if it is masked. Raises ConfigError."""
        assert source.main is not None  # noqa: S101 - no tenant without one
        first = self._read(source.main)
        if first is None:
            return []
        files, problems = [first], list(source.problems)
        for _, path in sorted(source.overrides.items()):
            try:
                override = self._read(path)
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                files.extend([override] if override else [])
        if problems:
            raise ConfigError(problems)
        return files

    def _build(self, tenant_id: str, files: list[TomlFile]) -> tuple[list[Fault], Tenant | None]:
        try:
            described = TenantFile.model_validate(reduce(_merge, (file.data for file in files), self._defaults))
        except ValidationError as error:
            return faults(error, TenantFile), None
        if found := list(described.references(self._platforms, self._mount)):
            return found, None
        tenant = described.tenant(tenant_id, self._platforms[described.platform])
        if found := list(self._schedule(tenant)):
            return found, None
        return [], tenant

    def _schedule(self, tenant: Tenant) -> Iterator[Fault]:
        if not isinstance(tenant.schedule, Cron):
            return
        if tenant.schedule not in self._crontabs:
            self._crontabs[tenant.schedule] = _crontab_error(tenant.schedule)
        if error := self._crontabs[tenant.schedule]:
            yield Fault(("schedule",), error, "")

    def _located(self, fault: Fault, files: list[TomlFile]) -> Problem:
        path, line = place(fault.key, files)
        from_defaults = {*fault.key[:1]} & self._defaults.keys() and not any(
            fault.key[:1] in file.lines for file in files
        )
        key = ("defaults", *fault.key) if from_defaults else fault.key
        return Problem(path, line, spelled(key), fault.what, fault.fix)

    def _read(self, path: Path) -> TomlFile | None:
        """Read a file, or return None if it masks the one of the same name in an earlier directory, or has gone."""
        try:
            linked = stat.S_ISLNK(path.lstat().st_mode)
            status = path.stat() if path.is_file() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError([unreadable(path, error, _ITSELF)]) from error
        target = Path(os.path.realpath(path)) if linked else path
        if target == Path(os.devnull):
            return None
        if linked and not target.is_relative_to(os.path.realpath(path.parent)):
            raise ConfigError([Problem(path, None, None, "is a link that leads out of its folder", _ITSELF)])
        if status is None:  # a pipe would block, and a device never end
            raise ConfigError([Problem(path, None, None, "is no regular file", _ITSELF)])
        if objection := self._custodians.objection(path, status):
            raise ConfigError([objection])
        file = read_toml(path, _ITSELF, MAX_DROP_IN_BYTES)
        return file if file.text else None


def _mount(settings: Settings) -> str | None:
    return settings.vault.mount if settings.vault else None


def _find(directories: Sequence[Path], custodians: Custodians) -> tuple[dict[str, _Sources], list[Problem]]:
    sources: dict[str, _Sources] = defaultdict(_Sources)
    problems: list[Problem] = []
    found = False
    for directory in directories:
        try:
            names = _names(directory)
            objection = custodians.objection(directory, directory.stat())
        except FileNotFoundError:
            continue
        except OSError as error:
            objection = unreadable(directory, error, _ITSELF)
        found = True
        if objection:
            problems.append(objection)
            continue
        for name in names:
            if name.endswith(".toml"):
                sources[name.removesuffix(".toml")].main = directory / name
            elif name.endswith(".toml.d"):
                _find_overrides(directory / name, sources[name.removesuffix(".toml.d")], custodians)
    if not found:
        what = f"none of {', '.join(map(str, directories))} exists"
        problems.append(Problem(None, None, "tenants_dirs", what, "create one and put a drop-in for each tenant there"))
    return sources, problems


def _find_overrides(folder: Path, source: _Sources, custodians: Custodians) -> None:
    try:
        names = _names(folder)
        objection = custodians.objection(folder, folder.stat())
    except OSError as error:
        objection = unreadable(folder, error, _ITSELF)
    if objection:
        source.problems.append(objection)
    else:
        source.overrides |= {name: folder / name for name in names if name.endswith(".toml")}


def _idle(sources: Mapping[str, _Sources]) -> Iterator[Problem]:
    for tenant_id, source in sorted(sources.items()):
        fix = f"write {tenant_id}.toml, or name it after a drop-in that there is"
        for folder in sorted({path.parent for path in source.overrides.values() if source.main is None}):
            yield Problem(folder, None, None, "overrides no drop-in", fix)


def _names(folder: Path) -> list[str]:
    """List what is not hidden, as editors' temporary files are; a byte that is not UTF-8 becomes a question mark."""
    names = (path.name.encode(errors="replace").decode() for path in folder.iterdir())
    return [name for name in names if not name.startswith(".")]


def _look(path: Path) -> Look | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_dev


def _merge(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    merged = lower | upper
    for key in lower.keys() & upper.keys() - _CHOICES:
        if isinstance(lower[key], dict) and isinstance(upper[key], dict):
            merged[key] = lower[key] | upper[key]
    return merged


def _crontab_error(schedule: Cron) -> str | None:
    try:
        trigger(schedule, "")
    except ValueError as error:
        return str(error)
    return None
