"""Tenants from drop-in files, in the manner of systemd's: one file a tenant, overrides in a folder beside it.

One bad file rejects one tenant. Reading blocks: call it in a thread.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adsyncd.config import Settings, TenantFile
from adsyncd.config.problems import Fault, faults, in_order
from adsyncd.config.toml_file import TomlFile, place, read_toml
from adsyncd.errors import ConfigError, Problem
from adsyncd.schedule import trigger
from adsyncd.tenant import Cron, Tenant

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CHOICES = {"schedule", "credentials"}  # each states one kind out of several: tables of two kinds can't be merged
_READABLE = "let the daemon's user read it"


@dataclass(frozen=True, slots=True)
class Tenants:
    """What the drop-ins say: good tenants and the problems of bad ones, each by tenant id and in its order.

    `directories` are problems of the directories themselves. While there is one, a tenant that is in neither `good`
    nor `bad` may still exist.
    """

    good: dict[str, Tenant]
    bad: dict[str, list[Problem]]
    directories: list[Problem]

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


def read_tenants(settings: Settings) -> Tenants:
    """Read all tenants in `settings.tenants_dirs`. Raises nothing: what is wrong is in the result."""
    sources, directories = _find(settings.tenants_dirs)
    reader = _Reader(settings)
    tenants = Tenants({}, {}, directories)
    for tenant_id, source in sorted(sources.items()):
        if source.main is None:
            continue
        try:
            tenant = reader.read(tenant_id, source.main, source)
        except ConfigError as error:
            tenants.bad[tenant_id] = error.problems
        else:
            if tenant is not None:
                tenants.good[tenant_id] = tenant
    return tenants


class _Reader:
    """Reads one tenant after another, in the order of their ids, and remembers what the next must agree with."""

    def __init__(self, settings: Settings) -> None:
        self._defaults = settings.defaults.model_dump(exclude_unset=True)
        self._platforms = {name: table.platform(name) for name, table in settings.platforms.items()}
        self._vault = settings.vault is not None
        self._crontabs: dict[Cron, str | None] = {}
        self._buckets: dict[tuple[str, str], Tenant] = {}

    def read(self, tenant_id: str, main: Path, source: _Sources) -> Tenant | None:
        """Return the tenant, or None if it is masked. Raises ConfigError."""
        if not _ID.fullmatch(tenant_id):
            what, mend = "its name is no tenant's id", "use at most 63 of a-z, 0-9 and -, such as acme.toml"
            raise ConfigError([Problem(main, None, None, what, mend)])
        first = _read(main)
        if first is None:
            return None
        files, problems = [first], list(source.problems)
        for _, path in sorted(source.overrides.items()):
            try:
                override = _read(path)
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                files.extend([override] if override else [])
        if problems:
            raise ConfigError(problems)
        found, tenant = self._build(tenant_id, files)
        if tenant is None:
            raise ConfigError(sorted((self._located(fault, files) for fault in found), key=in_order))
        return tenant

    def _build(self, tenant_id: str, files: list[TomlFile]) -> tuple[list[Fault], Tenant | None]:
        try:
            described = TenantFile.model_validate(reduce(_merge, (file.data for file in files), self._defaults))
        except ValidationError as error:
            return faults(error, TenantFile), None
        if found := list(described.references(self._platforms, vault=self._vault)):
            return found, None
        tenant = described.tenant(tenant_id, self._platforms[described.platform])
        if found := list(self._schedule(tenant)) or list(self._bucket(tenant)):
            return found, None
        return [], tenant

    def _schedule(self, tenant: Tenant) -> Iterator[Fault]:
        if not isinstance(tenant.schedule, Cron):
            return
        if tenant.schedule not in self._crontabs:
            self._crontabs[tenant.schedule] = _crontab_error(tenant.schedule)
        if error := self._crontabs[tenant.schedule]:
            yield Fault(("schedule",), error, "")

    def _bucket(self, tenant: Tenant) -> Iterator[Fault]:
        first = self._buckets.setdefault((tenant.platform.name, tenant.client_id), tenant)
        if first.quota != tenant.quota:
            what = f'differs from that of tenant "{first.id}", which has the same platform and client_id'
            yield Fault(("quota",), what, "both are metered as one: state the same quota")

    def _located(self, fault: Fault, files: list[TomlFile]) -> Problem:
        path, line = place(fault.key, files)
        from_defaults = fault.key[0] in self._defaults and not any(fault.key[:1] in file.lines for file in files)
        key = ".".join(("defaults", *fault.key) if from_defaults else fault.key)
        return Problem(path, line, key, fault.what, fault.mend)


def _find(directories: Sequence[Path]) -> tuple[dict[str, _Sources], list[Problem]]:
    sources: dict[str, _Sources] = defaultdict(_Sources)
    problems: list[Problem] = []
    found = False
    for directory in directories:
        try:
            names = _names(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            names = []
            problems.append(_unreadable(directory, error))
        found = True
        for name in names:
            if name.endswith(".toml"):
                sources[name.removesuffix(".toml")].main = directory / name
            elif name.endswith(".toml.d"):
                _find_overrides(directory / name, sources[name.removesuffix(".toml.d")])
    if not found:
        what = f"none of {', '.join(map(str, directories))} exists"
        problems.append(Problem(None, None, "tenants_dirs", what, "create one and put a drop-in for each tenant there"))
    return sources, problems


def _find_overrides(folder: Path, source: _Sources) -> None:
    try:
        names = _names(folder)
    except OSError as error:
        source.problems.append(_unreadable(folder, error))
    else:
        source.overrides |= {name: folder / name for name in names if name.endswith(".toml")}


def _names(folder: Path) -> list[str]:
    """List what is not hidden, as editors' temporary files are; a byte that is not UTF-8 becomes a question mark."""
    names = (path.name.encode(errors="replace").decode() for path in folder.iterdir())
    return [name for name in names if not name.startswith(".")]


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(path, None, None, f"can't be read: {error.strerror}", _READABLE)


def _read(path: Path) -> TomlFile | None:
    """Read a file, or return None if it masks the one of the same name in an earlier directory."""
    try:
        linked, regular = path.is_symlink(), path.is_file()
    except OSError as error:
        raise ConfigError([_unreadable(path, error)]) from error
    target = Path(os.path.realpath(path)) if linked else path
    if target == Path(os.devnull):
        return None
    if linked and not target.is_relative_to(os.path.realpath(path.parent)):
        raise ConfigError(
            [Problem(path, None, None, "is a link that leads out of its folder", "put the drop-in itself there")]
        )
    if not regular:  # a pipe would block, and a device never end
        raise ConfigError([Problem(path, None, None, "is no regular file", "put the drop-in itself there")])
    file = read_toml(path, _READABLE)
    return file if file.text else None


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
