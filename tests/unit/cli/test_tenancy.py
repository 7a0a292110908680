"""`adsyncd forget` and `adsyncd rename` without a daemon, called in this process as the shell calls them."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from adsyncd.cli import tenancy
from adsyncd.cli.tenancy import refusal
from adsyncd.clock import SystemClock
from adsyncd.model.status import State, TenantStatus
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.store import Store, open_reader
from adsyncd.store.tenancy import Records
from support.commands import Call, Said, Shell, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import bury, run

ACME = Records(campaigns=2, dead_letters=2, runs=1, unpushed=2)
HAS = "acme has 2 campaigns, 2 dead letters, 1 run, 2 failed pushes of its runs\n"
DELETED = HAS.replace("acme has", "deleted of acme:")
AWAY = "move its file away, then: adsyncd reload"
EMPTY = {"owed": 0, "days": 0, "listing_pages": 0, "pauses": 0}
RECORDS = {"campaigns": 2, "dead_letters": 2, "runs": 1, "unpushed": 2, **EMPTY}


async def three_die(store: Store) -> None:
    await bury(store, "globex", "c9")
    await bury(store, "acme", "c1", "c2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with two dead letters of acme and one of globex."""
    return sqlite_file(tmp_path, three_die)


@pytest.fixture
def call(shell: Shell, url: str) -> Call:  # noqa: ARG001 - there are tenants' records
    """Call `adsyncd` with arguments; there are no drop-ins, and there is no terminal."""
    shell.environ(COLUMNS="80")
    return shell.call


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let somebody answer on a terminal."""

    def answer(text: str) -> None:
        terminal = io.StringIO(text)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)

    return answer


def left(url: str, tenant: str = "acme") -> Records:
    async def counted() -> Records:
        async with open_reader(url, clock=SystemClock()) as reader:
            return await reader.records(tenant)

    return anyio.run(counted)


def test_a_forgotten_tenant_leaves_nothing_behind_and_others_stay(call: Call, url: str) -> None:
    assert call("forget", "acme", "--yes") == Said(0, DELETED, "")
    assert (left(url), left(url, "globex")) == (Records(), Records(campaigns=1, dead_letters=1, runs=1, unpushed=1))
    said = call("forget", "acme", "--yes")
    assert (said.code, said.out) == (1, "")
    assert said.err == 'error: nothing is stored of a tenant "acme"; there are records of globex\n'


def test_json_has_the_counts_of_what_was_deleted(call: Call) -> None:
    permits = {"removed": 0, "kept": 0, "kept_s": 0.0}
    for dry_run, options in ((True, ["--dry-run"]), (False, ["--yes"])):
        said = call("forget", "acme", "--json", *options)
        assert json.loads(said.out) == {"tenant": "acme", "dry_run": dry_run, "records": RECORDS, "permits": permits}


def test_a_dry_run_only_counts(call: Call, url: str) -> None:
    assert call("forget", "acme", "--dry-run") == Said(0, HAS, "")
    assert left(url) == ACME


@pytest.mark.parametrize(("answer", "code", "deleted"), [("y\n", 0, True), ("n\n", 1, False), ("", 1, False)])
def test_on_a_terminal_it_says_what_there_is_and_asks_first(
    call: Call, url: str, answering: Callable[[str], None], answer: str, code: int, deleted: bool
) -> None:
    answering(answer)
    said = call("forget", "acme")
    kept = "" if deleted else "error: nothing was deleted, since the answer was not y\n"
    assert said == Said(code, DELETED if deleted else "", f"{HAS}delete all of it? [y/N]\n{kept}")
    assert left(url) == (Records() if deleted else ACME)


def test_a_drop_in_that_came_back_before_the_answer_is_seen(
    call: Call, url: str, tmp_path: Path, answering: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering("")

    def answer() -> str:
        add_tenant(tmp_path, "acme")
        return "y\n"

    monkeypatch.setattr(sys.stdin, "readline", answer)
    said = call("forget", "acme")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith(f"error: the drop-in of acme is in force; {AWAY}\n")
    assert left(url) == ACME


def test_without_a_terminal_it_is_refused_unless_asked_not_to_ask(call: Call, url: str) -> None:
    said = call("forget", "acme")
    assert (said.code, said.out) == (2, "")
    assert "there is no terminal to ask on" in said.err
    assert left(url) == ACME


def test_without_any_records_it_says_where_they_come_from(shell: Shell, tmp_path: Path) -> None:
    sqlite_file(tmp_path)
    wrong = 'error: nothing is stored of a tenant "acme"; the first run of a tenant stores what it lists\n'
    assert shell.call("forget", "acme", "--yes") == Said(1, "", wrong)


def test_a_typing_mistake_is_met_with_what_was_meant(call: Call) -> None:
    wrong = 'error: nothing is stored of a tenant "acmee"; did you mean "acme"?\n'
    assert call("forget", "acmee", "--yes") == Said(1, "", wrong)
    assert call("rename", "acmee", "apex") == Said(1, "", wrong)


@pytest.mark.parametrize("command", [["forget", "acme", "--yes"], ["rename", "acme", "apex"]])
@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ("", f"the drop-in of acme is in force; {AWAY}"),
        ("nonsense = 1\n", f"acme has a drop-in that is refused, so an earlier version may be in force; {AWAY}"),
    ],
)
def test_a_tenant_with_a_drop_in_stays_as_it_is(
    call: Call, url: str, tmp_path: Path, command: list[str], more: str, wrong: str
) -> None:
    add_tenant(tmp_path, "acme", more)
    assert call(*command) == Said(1, "", f"error: {wrong}\n")
    assert left(url) == ACME


def test_a_disabled_tenant_may_be_forgotten(call: Call, url: str, tmp_path: Path) -> None:
    add_tenant(tmp_path, "acme", "enabled = false\n")
    assert call("forget", "acme", "--yes") == Said(0, DELETED, "")
    assert left(url) == Records()


def test_folders_that_can_t_be_read_may_hold_its_drop_in(call: Call, url: str, tmp_path: Path) -> None:
    (tmp_path / "tenants.d").rmdir()
    said = call("forget", "acme", "--yes")
    assert said.code == 1
    assert "tenants.d" in said.err
    assert left(url) == ACME


def claimed(client_id: str, ago_s: float) -> Callable[[Store], object]:
    clock = SystemClock()
    free_at = clock.since_boot() - ago_s
    claim = Claim(PermitRecord("mixo", client_id, 60_000, 0, free_at, clock.boot_id, "p"), free_at)
    return lambda store: store.claim_permits([claim])


def test_permits_without_a_drop_in_go_once_they_count_no_more(call: Call, url: str, tmp_path: Path) -> None:
    for client_id, ago_s in {"gone": 70, "recent": 10, "globex": 70}.items():
        in_store(url, claimed(client_id, ago_s))  # type: ignore[arg-type]  # it is awaitable
    add_tenant(tmp_path, "globex")
    said = call("forget", "acme", "--yes").out.splitlines()
    assert said[1] == "deleted of acme: 1 permit on record, of client ids that no drop-in has"
    assert said[2].startswith("1 permit of client ids that no drop-in has may still count at their platforms, for ")
    assert {record.client_id for record in in_store(url, Store.permits)} == {"recent", "globex"}


def test_permits_stay_while_a_drop_in_that_can_t_be_read_may_have_them(call: Call, url: str, tmp_path: Path) -> None:
    in_store(url, claimed("gone", 70))  # type: ignore[arg-type]  # it is awaitable
    add_tenant(tmp_path, "globex", "nonsense = 1\n")
    said = call("forget", "acme", "--yes").out.splitlines()
    assert said[1:] == ["permits on record stay, since some drop-ins can't be read: see adsyncd check"]
    assert len(in_store(url, Store.permits)) == 1


def test_a_renamed_tenant_has_its_records_under_its_new_name(call: Call, url: str) -> None:
    becomes = HAS.removeprefix("acme has ")
    assert call("rename", "acme", "apex", "--dry-run") == Said(0, f"acme would become apex: {becomes}", "")
    assert left(url) == ACME
    assert call("rename", "acme", "apex") == Said(0, f"acme is now apex: {becomes}", "")
    assert (left(url), left(url, "apex")) == (Records(), ACME)
    assert json.loads(call("runs", "apex", "--json").out)[0]["run_id"] == run("apex").run_id
    said = call("rename", "apex", "acme", "--json")
    assert json.loads(said.out) == {"tenant": "apex", "renamed_to": "acme", "dry_run": False, "records": RECORDS}


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_name_that_has_records_is_refused(call: Call, url: str, options: list[str]) -> None:
    wrong = "error: there are records of globex already; if they are of no use: adsyncd forget globex\n"
    assert call("rename", "acme", "globex", *options) == Said(1, "", wrong)
    assert left(url) == ACME


@pytest.mark.parametrize(
    ("new", "wrong"), [("acme", "OLD and NEW are the same"), ("Apex!", "it is not a valid tenant id")]
)
def test_a_name_that_no_drop_in_can_have_is_a_usage_error(call: Call, new: str, wrong: str) -> None:
    said = call("rename", "acme", new)
    assert said.code == 2
    assert wrong in said.err


@pytest.mark.parametrize("state", State)
def test_no_records_are_changed_of_a_tenant_that_the_daemon_serves(state: State) -> None:
    said = refusal(TenantStatus("acme", state, "acme", "mixo"))
    wrong = f"the daemon serves acme; {AWAY}"
    draining = "a run or a replay of acme is in progress; wait, or end the run: adsyncd cancel acme"
    expected = {State.DISABLED: None, State.DRAINING: draining}.get(state, wrong)
    assert (said and str(said)) == expected


@pytest.mark.parametrize("command", [["forget", "acme", "--yes"], ["rename", "acme", "apex"]])
def test_the_daemon_at_the_named_socket_is_asked(
    call: Call, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[Path, str]]()

    async def note(at: Path, tenant: str) -> None:
        asked.append((at, tenant))

    monkeypatch.setattr(tenancy, "_refuse_if_served", note)
    assert call(*command, "--socket", str(tmp_path / "theirs")).code == 0
    assert {at for at, _ in asked} == {tmp_path / "theirs"}
    assert [name for _, name in asked] == command[1 : 1 + len(asked)]


@pytest.mark.parametrize("command", [["forget", "acme", "--yes"], ["rename", "acme", "apex"]])
def test_a_daemon_that_may_run_and_can_t_be_asked_keeps_the_records(
    call: Call, url: str, tmp_path: Path, command: list[str]
) -> None:
    said = call(*command, "--socket", str(tmp_path / "adsyncd.toml" / "control.sock"))  # not a missing one
    assert (said.code, said.out) == (4, "")
    assert said.err.startswith("error: no daemon answers at ")
    assert left(url) == ACME


def test_a_refusal_is_a_problem_in_json(call: Call, tmp_path: Path) -> None:
    add_tenant(tmp_path, "acme")
    for command in (["forget", "acme", "--yes", "--json"], ["rename", "acme", "apex", "--json"]):
        said = call(*command)
        assert (said.code, said.err) == (1, "")
        problem = json.loads(said.out)
        assert (problem["detail"], problem["fix"]) == ("the drop-in of acme is in force", AWAY)
