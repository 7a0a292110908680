"""Tenants from drop-in files, as systemd has them: one file a tenant, overrides in a folder beside it.

A bad file rejects only its own tenant. Reading blocks: call it in a thread. Files with an unchanged status are not
parsed again, so that one change among ten thousand files costs little.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adsyncd.clock import Clock, SystemClock
from adsyncd.config import Settings, TenantFile
from adsyncd.config.diagnostics import Diagnostic, diagnose, in_order, key_name
from adsyncd.config.drop_in_files import ITSELF, Fingerprint, Sources, find
from adsyncd.config.file_access import Custodians
from adsyncd.config.platform_reader import PlatformReader, Platforms
from adsyncd.config.toml_file import MAX_DROP_IN_BYTES, TomlFile, place, read_toml, unreadable
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.tenant import TENANT_ID, Cron, Tenant

_ID = re.compile(TENANT_ID)
_CHOICES = {"schedule", "credentials"}  # tables with alternative keys: merging would combine two alternatives
_PUSH = ("sync", "push")  # in [defaults] it holds for the platforms that take pushes
_SETTLED_S = 1.0
_MASK = "write it; to mask it on purpose, link it to /dev/null"
_NEVER = "names a date that never comes", "change the date, or disable the tenant (enabled = false)"


@dataclass(frozen=True, slots=True)
class Tenants:
    """The result of reading all drop-ins: valid tenants and the problems of invalid ones, sorted by tenant id.

    `directories`: problems of the directories themselves; while there are any, a tenant in neither `good` nor `bad` may
    still exist. `unsettled`: some invalid or masked files changed just now and may be half written. `ignored`: files
    and folders that have no effect, which may be a mistake. `platforms`: the problems of profiles, by the platform's
    name. Its tenants keep the last good profile; without one they are in `bad`, with the same problems.
    """

    good: dict[str, Tenant]
    bad: dict[str, list[Problem]]
    directories: list[Problem]
    unsettled: bool = field(default=False, compare=False)
    ignored: list[Problem] = field(default_factory=list)
    platforms: dict[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        """All problems, each once, sorted by file and line."""
        found = [self.directories, *self.platforms.values(), *self.bad.values()]
        return sorted({one for several in found for one in several}, key=in_order)

    @property
    def profiles(self) -> dict[tuple[Problem, ...], str]:
        """The problems of each bad profile once, with the first of the platforms that name it."""
        return {problems: name for name, problems in reversed(self.platforms.items())}


@dataclass(frozen=True, slots=True)
class _Known:
    """A tenant or its problems, with the files' fingerprint before they were read. A masked one has neither.

    `settled`: a later change is sure to change the fingerprint. `empty`: the problems of files without a byte.
    """

    fingerprint: Fingerprint
    settled: bool
    tenant: Tenant | None
    problems: list[Problem]
    empty: tuple[Problem, ...] = ()


def read_tenants(settings: Settings) -> Tenants:
    """Read all tenants in `settings.tenants_dirs` once. Raises nothing: the result has the problems."""
    return DropIns(SystemClock()).read(settings)


def read_files(settings: Settings, tenant_id: str) -> list[TomlFile]:
    """Read a tenant's drop-in and its overrides, in the order in which they count; none if it has no drop-in.

    Raises ConfigError if one can't be read, or if the tenant is masked.
    """
    custodians, clock = Custodians(os.geteuid()), SystemClock()
    source = find(settings.tenants_dirs, custodians).sources.get(tenant_id)
    if source is None or source.main is None:
        return []
    files = _Reader(settings, Platforms({}, {}), custodians, clock.now(), 0).files(source)
    if not files:
        how = "it is a link to /dev/null" if source.main.is_symlink() else "it is empty"
        what, fix = (
            f"masks the tenant: {how}",
            "write a drop-in in its place, or remove it if an earlier folder has one",
        )
        raise ConfigError([Problem(source.main, None, None, what, fix)])
    return files


def merged(defaults: dict[str, Any], files: Sequence[TomlFile]) -> TenantFile:
    """Return what a tenant's files and the defaults state together. Raises ValidationError."""
    return TenantFile.model_validate(reduce(merge, (file.data for file in files), defaults))


class DropIns:
    """Reads all drop-ins repeatedly. An unchanged tenant is the same object as before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._basis: tuple[object, ...] = ()
        self._known: dict[str, _Known] = {}
        self._platforms = Platforms({}, {})
        self._profiles = PlatformReader()

    def read(self, settings: Settings) -> Tenants:
        """Read all tenants in `settings.tenants_dirs`. Raises nothing: the result has the problems."""
        settled_at = self._clock.now().timestamp() - _SETTLED_S
        platforms = self._profiles.read(settings.platforms, int(settled_at * 1e9))
        basis = (platforms.good.keys() | platforms.problems, settings.defaults, _mount(settings))
        before = self._known if basis == self._basis else {}
        custodians = Custodians(os.geteuid())
        found = find(settings.tenants_dirs, custodians)
        reader = _Reader(settings, platforms, custodians, self._clock.now(), settled_at)
        known = {
            tenant_id: reader.known(tenant_id, source, self._still(before.get(tenant_id), platforms))
            for tenant_id, source in sorted(found.sources.items())
            if source.main is not None
        }
        self._basis, self._known, self._platforms = basis, known, platforms
        unsettled = platforms.unsettled or any(not one.settled and one.tenant is None for one in known.values())
        ignored = [*found.ignored, *(problem for one in known.values() for problem in one.empty)]
        tenants = Tenants({}, {}, found.problems, unsettled, sorted(ignored, key=in_order), platforms.problems)
        metered: dict[tuple[str, str], Tenant] = {}
        for tenant_id, one in known.items():
            if one.problems:
                tenants.bad[tenant_id] = one.problems
            elif one.tenant is not None:
                first = metered.setdefault((one.tenant.platform.name, one.tenant.client_id), one.tenant)
                if first.quota == one.tenant.quota:
                    tenants.good[tenant_id] = one.tenant
                else:
                    tenants.bad[tenant_id] = reader.disagreement(found.sources[tenant_id], first)
        return tenants

    def _still(self, known: _Known | None, platforms: Platforms) -> _Known | None:
        """Return `known` if the tenant's platform is as it was, or, if that is unknown, all of them."""
        if known is None or known.tenant is None:
            return known if platforms == self._platforms else None
        platform = known.tenant.platform
        return known if platforms.good.get(platform.name) == platform else None


class _Reader:
    """Reads one tenant after another. Files changed after `settled_at` may change again with the same fingerprint."""

    def __init__(
        self, settings: Settings, platforms: Platforms, custodians: Custodians, now: datetime, settled_at: float
    ) -> None:
        self._defaults = settings.defaults.model_dump(exclude_unset=True)
        self._platforms = platforms
        self._names = {*platforms.good, *platforms.problems}
        self._mount = _mount(settings)
        self._custodians = custodians
        self._settled_ns = int(settled_at * 1e9)
        self._now = now
        self._crontabs: dict[Cron, tuple[str, str] | None] = {}
        self._empty: list[Problem] = []  # of the tenant that is being read

    def known(self, tenant_id: str, source: Sources, before: _Known | None) -> _Known:
        """Return `before` if the files are unchanged, else read them."""
        fingerprint = source.fingerprint()
        if before is not None and before.settled and before.fingerprint == fingerprint:
            return before
        settled = all(status is not None and status[0] < self._settled_ns for _, status in fingerprint[0])
        self._empty = []
        try:
            tenant, problems = self._tenant(tenant_id, source), list[Problem]()
        except ConfigError as error:
            tenant, problems = None, error.problems
        return _Known(fingerprint, settled, tenant, problems, tuple(self._empty))

    def disagreement(self, source: Sources, first: Tenant) -> list[Problem]:
        """Return the problem that a tenant's quota differs from the `first` tenant's with the same client id."""
        what = f'differs from that of tenant "{first.id}", which has the same platform and client_id'
        found = Diagnostic(("quota",), what, "the platform meters both together: state the same quota")
        try:
            files = self.files(source)
        except ConfigError as error:  # changed meanwhile
            return error.problems
        return [self._located(found, files)] if files else [Problem(source.main, None, "quota", what, found.fix)]

    def _tenant(self, tenant_id: str, source: Sources) -> Tenant | None:
        """Return the tenant, or None if it is masked. Raises ConfigError."""
        if not _ID.fullmatch(tenant_id):
            what, fix = "its name is not a valid tenant id", "use at most 63 of a-z, 0-9 and -, such as acme.toml"
            raise ConfigError([Problem(source.main, None, None, what, fix)])
        files = self.files(source)
        if not files:
            return None
        found, tenant = self._build(tenant_id, files)
        if tenant is None:
            raise ConfigError(sorted((self._located(one, files) for one in found), key=in_order))
        return tenant

    def files(self, source: Sources) -> list[TomlFile]:
        """Read a tenant's file and its overrides; none if it is masked. Raises ConfigError."""
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

    def _build(self, tenant_id: str, files: list[TomlFile]) -> tuple[list[Diagnostic], Tenant | None]:
        try:
            described = merged(self._defaults, files)
        except ValidationError as error:
            return diagnose(error, TenantFile), None
        if found := list(described.references(self._names, self._mount)):
            return found, None
        if (platform := self._platforms.good.get(described.platform)) is None:
            raise ConfigError(list(self._platforms.problems[described.platform]))
        found = list(described.misfits(platform.profile))
        if found := [one for one in found if one.key != _PUSH or any(_PUSH in file.lines for file in files)]:
            return found, None
        tenant = described.tenant(tenant_id, platform)
        if found := list(self._schedule(tenant)):
            return found, None
        return [], tenant

    def _schedule(self, tenant: Tenant) -> Iterator[Diagnostic]:
        if not isinstance(tenant.schedule, Cron):
            return
        if tenant.schedule not in self._crontabs:
            self._crontabs[tenant.schedule] = _crontab_error(tenant.schedule, self._now)
        error = self._crontabs[tenant.schedule]
        if error and (tenant.enabled or error is not _NEVER):
            yield Diagnostic(("schedule",), *error)

    def _located(self, found: Diagnostic, files: list[TomlFile]) -> Problem:
        path, line = place(found.key, files)
        from_defaults = {*found.key[:1]} & self._defaults.keys() and not any(
            found.key[:1] in file.lines for file in files
        )
        key = ("defaults", *found.key) if from_defaults else found.key
        return Problem(path, line, key_name(key), found.what, found.fix)

    def _read(self, path: Path) -> TomlFile | None:
        """Read a file; None if it masks one of the same name in an earlier directory, or is gone."""
        try:
            linked = stat.S_ISLNK(path.lstat().st_mode)
            status = path.stat() if path.is_file() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError([unreadable(path, error, ITSELF)]) from error
        target = Path(os.path.realpath(path)) if linked else path
        if target == Path(os.devnull):
            return None
        if linked and not target.is_relative_to(os.path.realpath(path.parent)):
            raise ConfigError([Problem(path, None, None, "is a link to a file outside of its folder", ITSELF)])
        if status is None:  # a pipe would block, a device may never end
            raise ConfigError([Problem(path, None, None, "is not a regular file", ITSELF)])
        if objection := self._custodians.objection(path, status):
            raise ConfigError([objection])
        file = read_toml(path, ITSELF, MAX_DROP_IN_BYTES)
        if file.text:
            return file
        is_override = path.parent.name.endswith(".toml.d")
        effect = "so it sets nothing" if is_override else f"so there is no tenant {path.stem}"
        self._empty.append(Problem(path, None, None, f"is empty, {effect}", _MASK))
        return None


def _mount(settings: Settings) -> str | None:
    return settings.vault.mount if settings.vault else None


def merge(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Return the tables of two files as one, of which `upper` counts."""
    merged = lower | upper
    for key in lower.keys() & upper.keys() - _CHOICES:
        if isinstance(lower[key], dict) and isinstance(upper[key], dict):
            merged[key] = lower[key] | upper[key]
    return merged


def _crontab_error(schedule: Cron, now: datetime) -> tuple[str, str] | None:
    """Return what is wrong with a crontab, and the fix."""
    try:
        times = trigger(schedule, "")
    except ValueError as error:
        return str(error), ""
    return _NEVER if next_fire(times, now) is None else None
