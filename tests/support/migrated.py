"""Databases that have been migrated once, for tests that are not about migrations."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from adsyncd.store import schema, sql


def sqlite_file(folder: Path) -> str:
    """Put an empty, migrated database into `folder`, and return its URL."""
    file = folder / "adsyncd.db"
    file.touch(mode=0o600)
    file.write_bytes(_empty())
    return f"sqlite:///{file}"


def migrate(url: str | URL) -> None:
    """Bring the database at `url` up to date."""
    place = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    engine = sql.engine(place, connections=1).execution_options(writes=True)
    with engine.begin() as connection:
        schema.upgrade(connection)
    engine.dispose()


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/adsyncd.db")
        return Path(folder, "adsyncd.db").read_bytes()
