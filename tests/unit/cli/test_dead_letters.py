"""The commands on dead letters that need no platform, called in this process as the shell calls them."""

import json
import sys
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from adsyncd.cli.output import letter_as_json
from adsyncd.model.campaign import DeadLetter, idempotency_key
from adsyncd.store import Store
from support.commands import Call, Said, Shell, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import bury, run

KEYS = [
    "tenant", "campaign_id", "run_id", "idempotency_key", "content_hash", "reason", "attempts", "failures",
    "owed_at", "dead_at", "replayed_at", "trace_id", "payload",
]  # fmt: skip
ONE_OF_THREE = (
    "select dead letters: TENANT CAMPAIGN, or --tenant and --reason, or options that select tenants, or --all"
)


async def three_die(store: Store) -> None:
    await bury(store, "globex", "c9", reason="503: [red]later[/]")
    await bury(store, "acme", "c1", "c2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with two dead letters of acme and one of globex."""
    return sqlite_file(tmp_path, three_die)


@pytest.fixture
def call(shell: Shell, url: str) -> Call:  # noqa: ARG001 - there are dead letters
    """Call `adsyncd dead-letters` with arguments."""
    shell.environ(COLUMNS="100")
    return partial(shell.call, "dead-letters")


def campaigns(said: Said) -> list[str]:
    assert said.code == 0, said.err
    return [letter["campaign_id"] for letter in json.loads(said.out)]


def left(url: str) -> list[DeadLetter]:
    return in_store(url, Store.dead_letters)


def test_dead_letters_are_listed_as_json_with_the_keys_of_the_contract(call: Call, url: str) -> None:
    said = call("list", "--json")
    assert (said.code, said.err) == (0, "")
    first, *_ = listed = json.loads(said.out)
    assert listed == [letter_as_json(letter) for letter in left(url)]
    assert list(first) == KEYS
    assert first["payload"] == {"id": "c1", "name": ""}
    assert first["idempotency_key"] == idempotency_key("acme", "c1", run().run_id)
    assert first["dead_at"] == "2026-11-25T12:00:00+00:00"


def test_dead_letters_are_listed_by_tenant_and_reason(call: Call) -> None:
    assert campaigns(call("list", "--json", "--tenant", "acme")) == ["c1", "c2"]
    assert campaigns(call("list", "--json", "--reason", "LATER")) == ["c9"]
    assert campaigns(call("list", "--json", "--tenant", "acme", "--reason", "later")) == []


def test_dead_letters_are_a_table_that_repeats_reasons_as_they_are(call: Call) -> None:
    said = call("list")
    assert (said.code, said.err) == (0, "")
    heads, first, _, last = said.out.splitlines()
    assert heads.split() == ["tenant", "campaign", "died", "(+01:00)", "attempts", "reason"]
    assert first.split() == ["acme", "c1", "2026-11-25", "13:00:00", "5", "422:", "over", "budget"]
    assert last.rstrip().endswith("503: [red]later[/]")


EVIL = "\x1b]52;c;cm0gLXJmIC8=\x07\x9b31m\u202e[red]x[/]\u2028\nfake: line"
ESCAPED = r"\x1b]52;c;cm0gLXJmIC8=\x07\x9b31m\u202e[red]x[/]\u2028\nfake: line"


@pytest.mark.parametrize(
    "command",
    [
        ("list", "--tenant", "evil"),
        ("show", "evil", EVIL),
        ("show", "evil", ESCAPED),
        ("replay", "evil", EVIL, "--dry-run"),
        ("replay", "evil", EVIL),
        ("discard", "evil", ESCAPED),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_a_platform_wrote_is_escaped_on_its_way_to_a_terminal(
    call: Call, url: str, command: tuple[str, ...], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_store(url, lambda store: bury(store, "evil", EVIL, reason=f"422: {EVIL} Grüße"))
    screens = {name: TextIOWrapper(BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, screen in screens.items():
        monkeypatch.setattr(sys, name, screen)
    monkeypatch.setenv("COLUMNS", "300")
    call(*command)
    shown = ""
    for screen in screens.values():
        screen.flush()
        shown += screen.buffer.getvalue().decode(encoding)
    assert ESCAPED.partition(" ")[0] in shown  # a table folds it there
    assert all(line.isprintable() and not line.startswith("fake") for line in shown.split("\n"))


def test_an_id_that_does_not_print_is_whole_in_json(call: Call, url: str) -> None:
    in_store(url, lambda store: bury(store, "evil", EVIL + "\x7f", reason="422"))
    said = call("list", "--json", "--tenant", "evil")
    assert said.out.replace("\n", "").isprintable()
    [name] = campaigns(said)
    assert name == EVIL + "\x7f"
    assert call("show", "evil", name).code == 0


def test_a_dead_letter_is_shown_with_its_campaign(call: Call) -> None:
    said = call("show", "acme", "c2")
    assert said.code == 0
    assert "campaign id: c2\n" in said.out
    assert "reason: 422: over budget\n" in said.out
    assert "replayed at: -\n" in said.out
    assert '"id": "c2"' in said.out
    assert json.loads(call("show", "acme", "c2", "--json").out)["campaign_id"] == "c2"


@pytest.mark.parametrize("command", ["show", "replay", "discard"])
def test_a_campaign_that_is_no_dead_letter_is_an_error(call: Call, command: str) -> None:
    said = call(command, "acme", "c9")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[-1] == "error: campaign c9 of tenant acme is not a dead letter"


@pytest.mark.parametrize("command", ["replay", "discard"])
@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ((), ONE_OF_THREE),
        (("acme", "c1", "--all"), ONE_OF_THREE),
        (("acme", "c1", "--reason", "no"), ONE_OF_THREE),
        (("--tenant", "acme", "--all"), ONE_OF_THREE),
        (("acme",), "name a campaign, or use --tenant acme for all of this tenant"),
    ],
)
def test_what_is_meant_is_never_guessed(
    call: Call, url: str, command: str, arguments: tuple[str, ...], mistake: str
) -> None:
    said = call(command, *arguments)
    assert (said.code, said.out) == (2, "")
    assert mistake in " ".join(said.err.replace("│", " ").split())
    assert len(left(url)) == 3


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("acme", "c2"), ["c2"]),
        (("--tenant", "acme"), ["c1", "c2"]),
        (("--reason", "budget"), ["c1", "c2"]),
        (("--tenant", "globex", "--reason", "budget"), []),
        (("--all",), ["c1", "c2", "c9"]),
    ],
)
def test_a_dry_run_lists_what_is_meant_and_the_rest_does_it(
    call: Call, url: str, arguments: tuple[str, ...], meant: list[str]
) -> None:
    assert campaigns(call("replay", *arguments, "--dry-run", "--json")) == meant
    assert campaigns(call("discard", *arguments, "--dry-run", "--json")) == meant
    assert len(left(url)) == 3
    assert campaigns(call("discard", *arguments, "--json")) == meant
    assert [letter.campaign_id for letter in left(url)] == [each for each in ("c1", "c2", "c9") if each not in meant]


def test_what_was_discarded_is_told(call: Call) -> None:
    said = call("discard", "--tenant", "acme")
    assert said.code == 0
    assert said.out.splitlines()[-1] == "2 discarded"
    assert call("discard", "--tenant", "acme") == Said(0, "no dead letters\n", "")


def test_the_dead_letters_of_a_tenant_that_is_gone_are_not_tried(call: Call, url: str) -> None:
    said = call("replay", "--all")
    assert said.code == 1
    first, _, last, counts = said.out.splitlines()
    assert first.startswith('acme c1: there is no tenant "acme"')
    assert last.startswith('globex c9: there is no tenant "globex"')
    assert counts == "3 not tried"
    assert len(left(url)) == 3


def test_options_select_the_tenants_whose_dead_letters_are_meant(call: Call, shell: Shell, url: str) -> None:
    add_tenant(shell.folder, "acme")
    assert campaigns(call("list", "--json", "--match", "*e*")) == ["c1", "c2", "c9"]
    assert campaigns(call("list", "--json", "--match", "glo*")) == ["c9"]
    assert campaigns(call("list", "--json", "--platform", "mixo")) == ["c1", "c2"]
    assert campaigns(call("list", "--json", "--match", "glo*", "--reason", "budget")) == []
    assert campaigns(call("replay", "--json", "--match", "a*", "--dry-run")) == ["c1", "c2"]
    assert campaigns(call("discard", "--json", "--match", "a*", "--reason", "budget")) == ["c1", "c2"]
    assert [letter.campaign_id for letter in left(url)] == ["c9"]


def test_a_tenant_that_nothing_knows_is_a_mistake_and_a_removed_one_is_none(call: Call, shell: Shell) -> None:
    add_tenant(shell.folder, "hooli")
    for command in (("list",), ("replay", "--dry-run"), ("discard", "--dry-run")):
        said = call(*command, "--tenant", "holi")
        assert said == Said(1, "", 'error: there is no tenant "holi"; did you mean "hooli"?\n')
    assert call("list", "--tenant", "hooli") == Said(0, "no dead letters\n", "")
    assert call("list", "--tenant", "globex", "--reason", "budget") == Said(0, "no dead letters\n", "")
    said = call("list", "--match", "shp-*")
    assert said == Said(1, "", 'error: no tenant has an id that matches "shp-*"; adsyncd status lists all\n')


@pytest.mark.parametrize("command", ["list", "replay", "discard"])
def test_one_tenant_is_named_or_some_are_selected(call: Call, command: str) -> None:
    said = call(command, "--tenant", "acme", "--match", "a*")
    assert said.code == 2
    assert "name one --tenant, or select tenants by other options" in said.err.replace("\n", " ")


def test_a_mistake_in_other_settings_keeps_no_dead_letter_back(call: Call, shell: Shell) -> None:
    with (shell.folder / "adsyncd.toml").open("a") as settings:
        settings.write("[vault]\naddres = 1\n")
    assert campaigns(call("list", "--json", "--match", "a*")) == ["c1", "c2"]
    assert campaigns(call("discard", "--json", "--tenant", "acme", "--dry-run")) == ["c1", "c2"]
    assert call("show", "acme", "c1").code == 0
    assert call("replay", "--all").code == 1  # which needs them
