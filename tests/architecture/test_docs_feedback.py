import re
import tomllib
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

from adsyncd.config.feedback_table import FeedbackTable

from adsyncd.config import Settings
from adsyncd.platforms import transport
from adsyncd.rate.dialect import PRESETS, STANDARD, Dialect, Preset
from adsyncd.rate.stated_time import LONGEST_S

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())


def dialect(text: str) -> Dialect:
    return FeedbackTable.model_validate(tomllib.loads(text)).dialect()


def test_the_presets_are_listed() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == list(Preset)


def test_each_preset_is_what_the_page_writes_as_a_table() -> None:
    tables = dict(re.findall(r"^`([\w-]+)`[:,][^\n]*\n\n```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
    assert {name: dialect(text) for name, text in tables.items()} == dict(PRESETS)


def test_the_table_of_the_standard_states_every_key() -> None:
    [table] = re.findall(r"^`standard`:\n\n```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert tomllib.loads(table).keys() == {field.name for field in fields(Dialect)}


def test_the_examples_are_valid() -> None:
    for example in re.findall(r"```toml\n(\[platforms\..*?)```", PAGE, re.DOTALL):
        document = tomllib.loads(example)
        for table in document["platforms"].values():
            table.setdefault("base_url", "https://ads.example.com")
        [platform] = Settings.model_validate(document).platforms.values()
        assert platform.feedback.dialect() != STANDARD


def test_the_header_fields_and_numbers_are_those_of_the_code() -> None:
    for usage in STANDARD.usages:
        assert usage.header in PAGE.lower()
    assert timedelta(seconds=LONGEST_S) == timedelta(days=1)
    assert "No time counts for more than a day" in FLAT
    assert timedelta(seconds=transport._LONGEST_CLOSING_S) == timedelta(hours=1)
    assert "after an hour of silence" in FLAT
