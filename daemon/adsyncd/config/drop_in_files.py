"""The files of drop-ins: which belong to which tenant, and which are ignored."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adsyncd.config.file_access import Custodians
from adsyncd.config.toml_file import unreadable
from adsyncd.errors import Problem

ITSELF = "put the drop-in itself there"
_DROP_IN = ".toml"
_OVERRIDES = ".toml.d"
# Names that say that no drop-in is meant: examples, notes, and copies that editors and packages leave.
_NOT_MEANT = re.compile(r".*(~|\.(example|disabled|md|txt|bak|old|orig|swp|tmp|rpm(new|save|orig)|dpkg-\w+))|README")

FileStatus = tuple[int, int, int, int, int]
Fingerprint = tuple[tuple[tuple[Path, FileStatus | None], ...], tuple[Problem, ...]]


@dataclass(slots=True)
class Sources:
    """The files of one tenant. A file replaces one of the same name in an earlier directory."""

    main: Path | None = None
    overrides: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fingerprint(self) -> Fingerprint:
        """Return a fingerprint that changes whenever one of the files does, except within the same instant."""
        paths = [path for path in (self.main, *self.overrides.values()) if path is not None]
        return tuple((path, _file_status(path)) for path in paths), tuple(self.problems)


@dataclass(frozen=True, slots=True)
class Found:
    """The files by tenant, the problems of directories, and what is ignored, which may be a mistake."""

    sources: dict[str, Sources]
    problems: list[Problem]
    ignored: list[Problem]


def find(directories: Sequence[Path], custodians: Custodians) -> Found:
    """Find the files of all tenants in directories, of which a later one replaces files of an earlier one."""
    found = Found(defaultdict(Sources), [], [])
    missing = list[Path]()
    for directory in directories:
        try:
            names = _names(directory)
            objection = custodians.objection(directory, directory.stat())
        except FileNotFoundError:
            missing.append(directory)
            continue
        except OSError as error:
            objection = unreadable(directory, error, ITSELF)
        if objection:
            found.problems.append(objection)
            continue
        for name in names:
            _place(directory / name, name, found, custodians)
    if len(missing) == len(directories):
        what = f"none of {', '.join(map(str, directories))} exists"
        fix = "create one and put a drop-in for each tenant there"
        found.problems.append(Problem(None, None, "tenants_dirs", what, fix))
    else:
        fix = "create it, or remove it from tenants_dirs"
        found.ignored.extend(Problem(folder, None, None, "is not there", fix) for folder in missing)
    found.ignored.extend(_idle(found.sources))
    return found


def _place(path: Path, name: str, found: Found, custodians: Custodians) -> None:
    if name.endswith(_DROP_IN):
        found.sources[name.removesuffix(_DROP_IN)].main = path
    elif name.endswith(_OVERRIDES):
        _find_overrides(path, found.sources[name.removesuffix(_OVERRIDES)], found, custodians)
    elif fix := _fix(path, name):
        found.ignored.append(Problem(path, None, None, "is ignored", fix))


def _find_overrides(folder: Path, source: Sources, found: Found, custodians: Custodians) -> None:
    try:
        names = _names(folder)
        objection = custodians.objection(folder, folder.stat())
    except OSError as error:
        objection = unreadable(folder, error, ITSELF)
    if objection:
        source.problems.append(objection)
        return
    source.overrides |= {name: folder / name for name in names if name.endswith(_DROP_IN)}
    for name in names:
        if not name.endswith(_DROP_IN) and not _NOT_MEANT.fullmatch(name):
            fix = f"name it {_stem(name)}{_DROP_IN}, since only overrides that end with {_DROP_IN} count"
            found.ignored.append(Problem(folder / name, None, None, "is ignored", fix))


def _fix(path: Path, name: str) -> str | None:
    """Return how to make a drop-in of something that is none; None if none is meant."""
    if _NOT_MEANT.fullmatch(name):
        return None
    if path.is_dir():
        return f"name it {_stem(name)}{_OVERRIDES} if it has overrides of {_stem(name)}{_DROP_IN}"
    return f"name it {_stem(name)}{_DROP_IN} if it is a tenant's, since only names that end with {_DROP_IN} count"


def _stem(name: str) -> str:
    """Return a name without its endings, in small letters as ids are."""
    return name.partition(".")[0].lower()


def _idle(sources: Mapping[str, Sources]) -> Iterator[Problem]:
    for tenant_id, source in sorted(sources.items()):
        if source.main is None:
            fix = f"write {tenant_id}.toml, or rename it after an existing drop-in"
            for folder in sorted({path.parent for path in source.overrides.values()}):
                yield Problem(folder, None, None, "overrides no drop-in", fix)
            yield from source.problems  # of a folder that can't be read


def _names(folder: Path) -> list[str]:
    """Return a folder's names but hidden ones, which editors make for a moment; bytes that are not UTF-8 become `?`."""
    names = (path.name.encode(errors="replace").decode() for path in folder.iterdir())
    return [name for name in names if not name.startswith(".")]


def _file_status(path: Path) -> FileStatus | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_dev
