"""A PostgreSQL server for tests: the one that ADSYNCD_TEST_POSTGRES names, or one started from system binaries."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
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
    def database(self, encoding: str = "UTF8") -> Iterator[URL]:
        """Yield the URL of a new, empty database that is dropped in the end."""
        name = f"adsyncd_test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            made = SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0")
            connection.execute(made.format(Identifier(name), Literal(encoding)))
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


@contextmanager
def pooling(place: URL, mode: str = "transaction") -> Iterator[URL]:
    """Yield the URL of a database behind PgBouncer, which gives each transaction one of two sessions."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no PgBouncer here: apt-get install pgbouncer")
    with tempfile.TemporaryDirectory() as folder:
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        port, password = _free_port(), f"password={place.password}" if place.password else ""
        Path(folder, "users").write_text(f'"{place.username}" ""\n')
        Path(folder, "settings").write_text(
            f"""
            [databases]
            * = host={place.host} port={place.port or 5432} {password}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {folder}/users
            pool_mode = {mode}
            default_pool_size = 2
            """.replace("    ", "")
        )
        for path in Path(folder).iterdir():
            path.chmod(0o644)
        with subprocess.Popen(
            [program, "--quiet", f"{folder}/settings"], stderr=subprocess.DEVNULL, user=user
        ) as pooler:
            try:
                _await_port(port)
                yield place.set(host="127.0.0.1", port=port)
            finally:
                pooler.terminate()


def _await_port(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)  # and try again, up to the deadline
        else:
            return


def _binaries() -> Path | None:
    on_path = [Path(found)] if (found := shutil.which("pg_ctl")) else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return next((path.parent for path in [*on_path, *reversed(debian)] if (path.parent / "initdb").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
