import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import Call, Shell, add_tenant, install
from support.zone import in_zone


@pytest.fixture(autouse=True)
def _zone() -> Iterator[None]:
    """Be where local time is not UTC."""
    with in_zone("Europe/Berlin"):
        yield


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A bare environment with settings in `tmp_path`, and no tenant."""
    install(tmp_path)
    shell = Shell(tmp_path, monkeypatch, capsys)
    shell.environ()
    umask = os.umask(0o022)
    yield shell
    os.umask(umask)


@pytest.fixture
def folder(tmp_path: Path, shell: Shell) -> Path:
    """An installation with one tenant."""
    add_tenant(shell.folder, "acme")
    return tmp_path


@pytest.fixture
def call(folder: Path, shell: Shell) -> Call:  # noqa: ARG001 - there is a tenant
    """Call `adsyncd` with arguments, on a terminal of 80 columns."""
    shell.environ(COLUMNS="80")
    return shell.call
