"""Checks whether a database can be used, without changing it."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, exists, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from adsyncd.errors import Problem, StoreError
from adsyncd.store import schema, sql
from adsyncd.store.sqlite_file import RESTORE, is_damage
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Checkup:
    """The result of a check: `facts` in words, and the problems."""

    facts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, file: Path | None, what: str, fix: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(file, None, "store.url", what, fix))


def check_up(url: str) -> Checkup:
    """Check the database at `url`. Blocks: an SQLite file is read completely."""
    found = Checkup()
    try:
        file = sql.file_of(url)
        if file and not file.exists():
            found.wrong(file, "there is no database", "start the daemon, which makes it, or name the right file")
            return found
        if file:
            _file(file, found)
        inside = _database(url, file)
        found.facts.extend(inside.facts)
        found.problems.extend(inside.problems)
    except StoreError as error:
        found.wrong(None, str(error))
    return found


def _file(file: Path, found: Checkup) -> None:
    about = file.stat()
    if about.st_mode & 0o077:
        found.wrong(file, f"others may use it (mode {about.st_mode & 0o777:04o})", f"chmod 600 {file}")
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
        found.wrong(file, "this user may not write it or its folder", "check as the daemon's user, or give them to it")
    free = shutil.disk_usage(file.parent).free
    fact = f"{free / _MB:,.0f} MB free, the database has {about.st_size / _MB:,.0f} MB"
    if free < about.st_size:
        found.wrong(file, fact, "make room: an upgrade copies it first")
    else:
        found.facts.append(fact)


def _database(url: str, file: Path | None) -> Checkup:
    engine = sql.reading_engine(url)

    def look(connection: Connection) -> Checkup:
        found = Checkup()
        if file:
            _integrity(connection, file, found)
        if (wrong := sql.misfit(connection)) is not None:
            found.wrong(file, wrong)
        elif _schema(connection, file, found):
            _rows(connection, file, found)
        return found

    try:
        return sql.look(engine, look)
    except DBAPIError as error:
        if not is_damage(error.orig):
            raise sql.store_error(engine.url, error) from error
        found = Checkup()
        found.wrong(file, f"it is damaged: {error.orig}", RESTORE)
        return found
    except SQLAlchemyError as error:
        raise sql.store_error(engine.url, error) from error


def _integrity(connection: Connection, file: Path, found: Checkup) -> None:
    first = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if first == "ok":
        found.facts.append("SQLite finds it intact")
    else:
        found.wrong(file, f"it is damaged: {first}", RESTORE)


def _schema(connection: Connection, file: Path | None, found: Checkup) -> bool:
    """Return whether the schema is this version's."""
    present, known = schema.current(connection), schema.known()
    if present == known[-1]:
        found.facts.append(f"schema {present}, as this version needs")
        return True
    if present in known:
        found.facts.append(f"schema {present}, which the next start migrates to {known[-1]}")
    elif present:
        found.wrong(file, f"a newer adsyncd made its schema {present}", "run that one, or restore a backup")
    else:
        found.wrong(file, "it holds no schema of adsyncd", "start the daemon, which makes it, or name the right one")
    return False


def _rows(connection: Connection, file: Path | None, found: Checkup) -> None:
    """Check for pushes without a run and dead letters without a campaign."""
    listed = exists().where(
        campaigns.c.tenant == dead_letters.c.tenant, campaigns.c.campaign_id == dead_letters.c.campaign_id
    )
    lost = {
        "pushes belong to no run": select(func.count()).where(pushes.c.run_id.not_in(select(runs.c.run_id))),
        "dead letters belong to no campaign": select(func.count()).select_from(dead_letters).where(~listed),
    }
    counts = {words: connection.execute(query).scalar_one() for words, query in lost.items()}
    for words, count in counts.items():
        if count:
            found.wrong(file, f"{count} {words}", RESTORE)
    if not any(counts.values()):
        found.facts.append("every push belongs to a run, every dead letter to a campaign")
