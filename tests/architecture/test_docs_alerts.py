import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from adsyncd.alerts import Alertmanager, Webhook, delivery, rules, watch
from adsyncd.cli import application
from adsyncd.config import Settings, TenantFile
from adsyncd.config.settings import ReceiversTable
from adsyncd.config.tenant_file import AlertsTable
from adsyncd.model.alert import Alert, AlertName

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
SINCE = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALERT = Alert(
    "acme", AlertName.RUNS_FAILING, SINCE, "3 runs in a row failed, the last because no connection to ads.example.com"
)


def test_each_alert_is_documented_with_its_severity_and_what_to_do() -> None:
    assert list(ROWS) == [name.value for name in AlertName]
    assert {name: row.partition(" |")[0] for name, row in ROWS.items()} == {
        name.value: name.severity for name in AlertName
    }
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == list(ROWS)


def test_the_numbers_are_those_of_the_rules() -> None:
    assert f"{rules.SAMPLE} or more" in ROWS["low_success_rate"]
    assert f"fewer than {rules.SAMPLE} campaigns" in FLAT
    assert f"each of {rules.GROWING_RUNS} runs" in ROWS["dead_letters_growing"]
    assert f"for {rules.AGED // timedelta(hours=1)} hours" in ROWS["dead_letters_ageing"]
    tenant = AlertsTable()
    assert f"`alerts.min_success_rate` ({tenant.min_success_rate}) and `alerts.failures` ({tenant.failures})" in FLAT
    assert (delivery._LAST_TRY_S, delivery._WAITS.max_s, watch._CHECK_S) == (3, 60, 30)
    for words in ("A stop allows three seconds", "exponential backoff, up to a minute", "every half minute"):
        assert words in FLAT


def test_the_keys_are_those_of_the_settings_and_of_tenants() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    document = tomllib.loads(example)
    assert document["alerts"].keys() == ReceiversTable.model_fields.keys()
    assert Settings.model_validate(document).alerts.repeat == ReceiversTable().repeat
    assert set(re.findall(r"`alerts\.(\w+)`", PAGE)) == AlertsTable.model_fields.keys()
    assert TenantFile.model_fields["alerts"].annotation is AlertsTable


def test_the_webhook_is_told_what_the_example_shows() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(example) == json.loads(json.dumps(Webhook("http://h").body([ALERT], SINCE)))


def test_alertmanager_is_told_with_the_labels_and_for_the_time_that_are_documented() -> None:
    manager = Alertmanager("http://a", timedelta(minutes=1))
    [posted] = manager.body([ALERT], SINCE)
    labels = ", ".join(f"`{label}`" for label in posted["labels"]).replace("`service`", "`service` (`adsyncd`)")
    assert f"the labels {' and '.join(labels.rsplit(', ', 1))}, and the annotation `summary`" in FLAT
    assert posted["annotations"].keys() == {"summary"}
    assert datetime.fromisoformat(posted["endsAt"]) == SINCE + 4 * manager.repeat
    assert "`endsAt` is four times `repeat` ahead" in FLAT
    assert f"`POST {manager.url.removeprefix('http://a')}`" in FLAT


@pytest.mark.parametrize(
    ("event", "module"),
    [
        ("alert fires", watch),
        ("alert resolved", watch),
        ("alerts can't be delivered", delivery),
        ("alerts are delivered again", delivery),
    ],
)
def test_the_log_s_words_are_those_that_are_documented(event: str, module: object) -> None:
    assert f"`{event}`" in FLAT
    assert f'"{event}"' in Path(str(vars(module)["__file__"])).read_text(encoding="utf-8")


def test_the_commands_exist() -> None:
    said = set(re.findall(r"`adsyncd ([a-z][a-z-]*(?: [a-z][a-z-]*)*)", PAGE))
    assert {"runs", "sync", "dead-letters list", "dead-letters replay"} <= said
    for words in said:
        command: Any = get_command(application())
        for word in words.split():
            command = command.commands[word]
