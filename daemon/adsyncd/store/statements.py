"""Statements of both databases, each built and compiled once: either takes longer than the database itself."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, Table, UpdateBase
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, KeyedColumnElement
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.engine.interfaces import DBAPICursor

Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"
Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
Query: TypeAlias = "Select[*tuple[Any, ...]]"
Parameters = Callable[[Mapping[str, Any]], Any]  # a tuple, or a dict by name
CHUNK = 500  # ids in one statement: databases limit its parameters


def fetch(connection: Connection, statement: Query, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    """Return the rows of a query, whose columns must be plain numbers and texts: they come as the driver reads them.

    SQLAlchemy's own way takes longer than the database does for a few rows, so the query is compiled once, and given to
    the driver. It must be one of few, each built once. A transaction must have begun.
    """
    text, parameters = _compiled(statement, connection.dialect, tuple(values))
    cursor = _executed(connection, text, [parameters(values)])
    rows = cursor.fetchall()
    cursor.close()
    return rows


def execute_rows(connection: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> int:
    """Execute a statement once for each row of parameters, as `fetch` does, and return how many rows it changed.

    It needs a value for every column that has a default. All rows must name the same parameters.
    """
    if not rows:
        return 0
    text, parameters = _compiled(statement, connection.dialect, tuple(rows[0]))
    cursor = _executed(connection, text, [parameters(row) for row in rows])
    changed = cursor.rowcount
    cursor.close()
    return changed


def _executed(connection: Connection, text: str, values: Sequence[Any]) -> "DBAPICursor":
    """Execute a statement, and return the driver's cursor. Raises what SQLAlchemy makes of an error, and does the rest.

    Its way from the driver's error to its own is private: it closes sessions that are of no use any more.
    """
    assert connection.in_transaction()  # noqa: S101 - the driver would not begin one
    cursor = connection.connection.cursor()
    try:
        if len(values) == 1:
            cursor.execute(text, values[0])
        else:
            cursor.executemany(text, values)
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, text, None, cursor, None)  # noqa: SLF001 - see above
    return cursor


@lru_cache(maxsize=128)
def _compiled(statement: ClauseElement, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, Parameters]:
    """Return a statement's text, and the function that makes the driver's parameters of values by name."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - no DDL
    special = {name: process for name, bind in compiled.binds.items() if (process := _processor(bind.type, dialect))}
    defaults = {column.key for column in compiled.insert_prefetch}
    fixed = {
        name: special[name](bind.value) if name in special else bind.value
        for name, bind in compiled.binds.items()
        if not bind.required and name not in defaults
    }
    in_order = compiled.positiontup or ()
    places = [(place, special[name]) for place, name in enumerate(in_order) if name in special and name not in fixed]

    def by_place(values: Mapping[str, Any]) -> tuple[Any, ...]:
        of_all = {**fixed, **values} if fixed else values
        given = [of_all[name] for name in in_order]
        for place, process in places:
            given[place] = process(given[place])
        return tuple(given)

    def by_name(values: Mapping[str, Any]) -> Mapping[str, Any]:
        given = {name: special[name](value) if name in special else value for name, value in values.items()}
        return {**fixed, **given}

    return str(compiled), by_place if compiled.positional else by_name


def _processor(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a driver's value of ours, or None if that is the same. A run writes an instant many times."""
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    return lru_cache(process) if process and kind.python_type not in {str, dict} else process


def upsert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    source: Select[Any] | None = None,
    where: Callable[[Columns], ColumnElement[bool]] | None = None,
) -> Insert:
    """Return an INSERT that overwrites `columns` of an existing row with the same primary key.

    It inserts its parameters, or the rows of `source` as `columns`. `where` gets the columns of the new row and returns
    the condition under which it overwrites.
    """
    return _upsert(connection.dialect.name, table, tuple(columns), source, where)


@cache
def _upsert(
    system: str,
    table: Table,
    columns: tuple[str, ...],
    source: Select[Any] | None,
    where: Callable[[Columns], ColumnElement[bool]] | None,
) -> Insert:
    """Build each statement once: building one takes longer than executing it."""
    statement = _insert(system, table)
    if source is not None:
        statement = statement.from_select(columns, source)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in columns if not table.c[name].primary_key},
        where=where and where(statement.excluded),
    )


def merge(
    connection: Connection, table: Table, merged: Callable[[Columns], Mapping[str, ColumnElement[Any]]]
) -> Insert:
    """Return an INSERT that updates an existing row with the same primary key.

    `merged` gets the columns of the new row and returns the values that the existing one gets.
    """
    return _merge(connection.dialect.name, table, merged)


@cache
def _merge(system: str, table: Table, merged: Callable[[Columns], Mapping[str, ColumnElement[Any]]]) -> Insert:
    statement = _insert(system, table)
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=merged(statement.excluded))


def insert_missing(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that leaves an existing row with the same primary key unchanged."""
    return _insert_missing(connection.dialect.name, table)


@cache
def _insert_missing(system: str, table: Table) -> Insert:
    return _insert(system, table).on_conflict_do_nothing()


def _insert(system: str, table: Table) -> Insert:
    if system == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - slow to import, and SQLite needs none of it

    return postgresql.insert(table)
