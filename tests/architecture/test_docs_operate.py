import json
import re
import shlex
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from adsyncd.cli import application
from adsyncd.config import DEFAULT_PATH, Settings, TenantFile
from adsyncd.model.alert import AlertName
from adsyncd.model.run import Outcome
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.lease import TTL_S
from adsyncd.store import schema
from adsyncd.telemetry import instruments
from support import page
from support.page import ROOT

PAGE = page.read("operate.md")
UNIT = (ROOT / "systemd" / "adsyncd.service").read_text(encoding="utf-8")
COMMANDS = sorted(
    {
        *re.findall(r"`(adsyncd [^`]+)`", PAGE),
        *re.findall(r"^adsyncd [^#\n(]+", "\n".join(page.blocks(PAGE, "sh")), re.MULTILINE),
        *(f"adsyncd {words}" for words in re.findall(r"/usr/local/bin/adsyncd ([a-z][^\n]*)", PAGE)),
    }
)
FOUND = page.rows(page.section(PAGE, "Find things"), "to find")


def of_unit(setting: str) -> str:
    [value] = re.findall(rf"^{setting}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings."""
    return {re.sub(r"[^\w -]", "", part["heading"].lower()).replace(" ", "-") for part in page.headings(text)}


def test_each_link_leads_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE):
        linked = (ROOT / "docs" / target).resolve() if target else ROOT / "docs" / "operate.md"
        assert linked.exists(), target
        assert not anchor or anchor in slugs(linked.read_text(encoding="utf-8")), (target, anchor)


def test_a_newcomer_finds_the_page_from_the_readme() -> None:
    assert "docs/operate.md" in (ROOT / "README.md").read_text(encoding="utf-8").partition("## Run it for real")[2]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_exists_with_its_options(line: str) -> None:
    _, *words = shlex.split(line)
    command: Any = get_command(application())
    while isinstance(command, TyperGroup):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


def test_each_alert_is_explained_with_a_command_to_look_with() -> None:
    table = page.rows(page.section(PAGE, "Alerts"), "alert")
    assert [cells[:2] for cells in table] == [[f"`{name}`", name.severity] for name in AlertName]
    assert {cells[3].strip("`") for cells in table} <= set(COMMANDS)


def test_each_symptom_comes_with_a_command_to_look_with() -> None:
    for _, look, why, what_to_do in page.rows(page.section(PAGE, "What is wrong?"), "what you see"):
        assert re.fullmatch(r"`(adsyncd|journalctl|systemctl|df) [^`]+`", look)
        assert why
        assert what_to_do


@pytest.mark.parametrize(
    "words",
    [
        *("no daemon answers", "circuit breaker open", "database: ", "running elsewhere", "run not recorded"),
        *("drop-in refused", "telemetry is being lost", "429s", "Vault: "),
    ],
)
def test_what_is_said_to_be_seen_is_what_the_program_says(words: str) -> None:
    assert words.strip() in PAGE
    assert any(words in path.read_text(encoding="utf-8") for path in (ROOT / "daemon" / "adsyncd").rglob("*.py"))


def constants(*, spans: bool) -> set[str]:
    return {
        value
        for name, value in vars(instruments).items()
        if name.isupper() and isinstance(value, str) and name.startswith("SPAN_") == spans
    }


def test_queries_ask_for_spans_and_attributes_that_exist() -> None:
    assert len(FOUND) > 5
    for _, traceql, jaeger in FOUND:
        names = re.findall(r'name = "([^"]+)"', traceql)
        operation, tags = re.fullmatch(r"`([^`]+)`: `([^`]+)`", jaeger).groups()  # type: ignore[union-attr]  # it fails
        assert {*names, operation} <= constants(spans=True) | {"POST /api/campaigns/{campaign_id}/sync"}
        attributes = re.findall(r"span\.([a-z_.]+)", traceql)
        assert {*attributes, tags.partition("=")[0]} <= constants(spans=False) | {"error"}


def test_queries_ask_for_values_that_there_are() -> None:
    queries = " ".join(cell for cells in FOUND for cell in cells)
    outcomes = re.findall(r'adsyncd\.outcome !?= ?"?(\w+)', queries.replace("=", " = "))
    reasons = re.findall(r'adsyncd\.wait\.reason ?= ?"?([\w-]+)', queries)
    assert outcomes
    assert set(outcomes) <= set(Outcome)
    assert reasons
    assert set(reasons) <= set(WaitReason)


def test_places_are_those_of_the_defaults_and_of_the_unit() -> None:
    defaults = Settings()
    assert f"# {DEFAULT_PATH}\n" in PAGE
    assert f"# {defaults.tenants_dirs[0]}/acme.toml\n" in PAGE
    assert defaults.store.url.removeprefix("sqlite:///") in PAGE
    assert f"--unix-socket {defaults.control.socket} " in PAGE
    assert of_unit("EnvironmentFile") == "-/etc/adsyncd/environment"
    assert of_unit("LoadCredential") == "vault-secret-id:adsyncd.vault-secret-id"
    assert f"runuser -u {of_unit('User')} " in PAGE


def test_what_the_unit_bounds_is_what_it_says() -> None:
    assert f"`MemoryMax={of_unit('MemoryMax')}`" in PAGE
    assert f"`LimitNOFILE={of_unit('LimitNOFILE')}`" in PAGE
    assert f"tried again every {of_unit('RestartSec')} s" in PAGE
    assert f"stood still for {of_unit('WatchdogSec')} s" in PAGE
    assert of_unit("RestartPreventExitStatus").endswith("78")
    assert f"at once on one machine, else after {TTL_S:g} s" in PAGE
    assert f"no sign of life for {TTL_S:g} s" in PAGE
    concurrency = TenantFile(client_id="a", platform="p", credentials={"env": "A"}).sync.concurrency
    assert f"and one more, {concurrency + 1} by default" in PAGE
    assert int(of_unit("LimitNOFILE")) > 10_000 * (concurrency + 1)


def test_what_is_said_of_capacity_was_measured() -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "idle.json").read_text())
    measured = {figure["name"]: (figure["value"], figure["unit"]) for figure in figures}
    more = "memory for each more tenant"
    one, idle, run = (measured[name] for name in ("memory, 1 idle", more, f"{more}, after a run of each"))
    stated = [cells[1] for cells in page.rows(page.section(PAGE, "Capacity"), "what")]
    assert stated == [f"{value:g} {unit}" for value, unit in (one, idle, run)]
    assert f"10,000 tenants that have run take about {round((one[0] + 10 * run[0]) / 10) * 10} MB" in PAGE
    assert f"With 1,000 tenants the daemon is ready after {measured['time to ready, 1,000 idle'][0]} s" in PAGE


def test_the_copy_to_go_back_to_is_named_as_an_upgrade_names_it() -> None:
    assert f"adsyncd.db.schema-{schema.known()[0]} adsyncd.db" in PAGE


def test_the_collector_listens_where_it_is_sent_to() -> None:
    text = page.section(PAGE, "A collector in between")
    [variables], [config] = page.blocks(text, "ini"), page.blocks(text, "yaml")
    [endpoint] = re.findall(r"^OTEL_EXPORTER_OTLP_ENDPOINT=http://(.*)$", variables, re.MULTILINE)
    assert f"        endpoint: {endpoint}\n" in config
