import io
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from adsyncd.demo.evidence import TenantEvidence
from adsyncd.demo.folder import Folder
from adsyncd.demo.platform import LedgerPage
from adsyncd.demo.report import print_evidence, print_log, print_parts, print_places
from adsyncd.demo.scene import Scene
from adsyncd.model.run import Outcome
from support.records import NOON, run


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(out: io.StringIO) -> Console:
    return Console(file=out, width=80)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    place = tmp_path / "a place [x] with a name that is longer than a line of the terminal has columns"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return Folder()


def test_each_tenant_has_a_line_with_all_that_was_measured(out: io.StringIO, console: Console) -> None:
    ended = replace(
        run(),
        outcome=Outcome.SUCCEEDED,
        ended_at=NOON + timedelta(seconds=34, milliseconds=560),
        requests=121,
        retries=11,
        refused=2,
    )
    ledger = LedgerPage(accepted=119, refused=2, pushes={f"cmp-{number}": 1 for number in range(100)})
    print_evidence(console, Scene(), [TenantEvidence(ended, 99, ledger, traced=True)])
    heads, values = out.getvalue().split("\n")[1:3]
    assert heads.split() == ["tenant", "campaigns", "requests", "retries", "429s", "quota", "used", "took"]
    assert values.split() == ["acme", "99/100", "121", "11", "2", "99%", "34.6", "s"]


def test_what_is_to_be_copied_is_on_one_line_and_survives_a_shell(
    out: io.StringIO, console: Console, folder: Folder
) -> None:
    print_places(console, folder, "bin/adsyncd")
    lines = out.getvalue().splitlines()
    assert f"Runs     bin/adsyncd runs --config '{folder.config}'" in lines
    assert f"Remove   rm -r '{folder.path}'" in lines
    assert f"Database {folder.database}" in lines


def test_addresses_are_shown_whole_however_narrow_the_terminal_is(out: io.StringIO, folder: Folder) -> None:
    narrow = Console(file=out, width=50)
    print_parts(
        narrow,
        Scene(),
        folder,
        vault="http://127.0.0.1:8200",
        platform="http://127.0.0.1:1",
        page="http://page/",
        collector="http://c",
    )
    assert "…" not in out.getvalue()


def test_the_end_of_the_log_is_shown_as_it_is(out: io.StringIO, console: Console, folder: Folder) -> None:
    folder.log.write_text("\n".join(f'{{"[red]event[/]": {number}}}' for number in range(100)))
    print_log(console, folder)
    lines = out.getvalue().splitlines()
    assert lines[-1] == '{"[red]event[/]": 99}'
    assert len(lines) < 20


def test_a_daemon_that_never_logged_has_an_empty_log(out: io.StringIO, console: Console, folder: Folder) -> None:
    print_log(console, folder)
    assert out.getvalue().strip().endswith("ends with:")
