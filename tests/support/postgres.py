"""A PostgreSQL server for tests: the one that ADSYNCD_TEST_POSTGRES names, or one started from system binaries."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, make_url

MISSING = "no PostgreSQL here: apt-get install postgresql, or set ADSYNCD_TEST_POSTGRES=postgresql://user@host/database"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server. `url` leads to a database whose user may make others."""

    url: str

    def execute(self, statement: LiteralString, database: str) -> None:
        """Execute a statement about another database, whose name takes the place of `{}`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(Identifier(database)))

    def hang_up(self, database: str) -> None:
        """End all connections to a database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [database]
            )

    @contextmanager
    def database(self) -> Iterator[URL]:
        """Yield the URL of a new, empty database that is dropped in the end."""
        name = f"adsyncd_test_{uuid.uuid4().hex}"
        self.execute("CREATE DATABASE {}", name)
        try:
            yield make_url(self.url).set(database=name)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Yield a server. Where there is none, that fails under CI and skips elsewhere."""
    if url := os.environ.get("ADSYNCD_TEST_POSTGRES"):
        yield Postgres(url.replace("postgresql+psycopg:", "postgresql:"))  # psycopg knows no SQLAlchemy
        return
    binaries = _binaries()
    if binaries is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if user:
            shutil.chown(folder, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), "--pgdata", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, user=user)

        run("initdb", "--no-sync", "--auth=trust", "--username=adsyncd", "--encoding=UTF8", "--locale=C")
        port = _free_port()
        options = (
            f"-h 127.0.0.1 -p {port} -k '' -c fsync=off -c full_page_writes=off"  # nobody misses it after a power cut
        )
        run("pg_ctl", "start", "--wait", "--log", f"{folder}/log", "--options", options)
        try:
            yield Postgres(f"postgresql://adsyncd@127.0.0.1:{port}/postgres")
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


def _binaries() -> Path | None:
    on_path = [Path(found)] if (found := shutil.which("pg_ctl")) else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return next((path.parent for path in [*on_path, *reversed(debian)] if (path.parent / "initdb").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
