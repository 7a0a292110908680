import inspect
import re
from dataclasses import fields
from pathlib import Path

from adsyncd.cli.simulate import simulate
from adsyncd.simulation.forecast import Forecast
from mock_api.app import create_app

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")


def first_column(header: str) -> list[str]:
    """The names in the first column of a table."""
    table = re.search(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table
    return [name for row in table[1].splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_each_option_is_documented() -> None:
    options = {f"--{name}" for name in inspect.signature(simulate).parameters}
    assert set(first_column("option")) == options | {"--healthy"}


def test_each_key_is_documented_in_its_order() -> None:
    assert first_column("key") == [*(field.name for field in fields(Forecast)), "keeps_schedule"]


def test_the_platform_is_the_one_that_is_documented() -> None:
    assert f"by default `{create_app.__module__}:{create_app.__name__}`" in " ".join(PAGE.split())
