import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from adsyncd.config import Settings, TenantFile
from adsyncd.config.diagnostics import ANY_ITEM, ANY_NAME, known_keys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
MODELS: tuple[type[BaseModel], ...] = (Settings, TenantFile)
SECTIONS = dict(zip(MODELS, re.split(r"^## Tenants$", PAGE, flags=re.MULTILINE), strict=True))
LEAST: dict[type[BaseModel], dict[str, Any]] = {
    Settings: {},
    TenantFile: {"client_id": "acme", "platform": "mixo", "credentials": {"env": "ACME"}},
}


def rows(model: type[BaseModel]) -> dict[str, str]:
    """Return the default of each key in the model's table, as it is written."""
    return dict(re.findall(r"^\| `([a-z][a-z_.<>]*)` \| (?:`(?=.*`)|)(.+?)`? \|", SECTIONS[model], re.MULTILINE))


@pytest.mark.parametrize("model", [Settings, TenantFile])
def test_the_reference_has_each_key_once_in_the_order_of_the_models(model: type[BaseModel]) -> None:
    keys = [key for key in known_keys(model) if key[0] != "defaults" or len(key) == 1]
    leaves = [
        ".".join(key).replace(ANY_NAME, "<name>").replace(ANY_ITEM, "<n>")
        for key in keys
        if not any(other[: len(key)] == key for other in keys if other != key)
    ]
    assert list(rows(model)) == leaves


@pytest.mark.parametrize("model", [Settings, TenantFile])
def test_the_defaults_of_the_reference_are_those_of_the_models(model: type[BaseModel]) -> None:
    stated = {key: default for key, default in rows(model).items() if default not in {"none", "required"}}
    optional = {key for key in stated if key.startswith(("vault.", "platforms."))}  # these have no default themselves
    text = "\n".join(f"{key} = {default}" for key, default in stated.items() if key not in optional)
    assert model.model_validate(LEAST[model] | tomllib.loads(text)).model_dump() == (
        model.model_validate(LEAST[model]).model_dump()
    )
    for key in optional:
        field = known_keys(model)[tuple(key.replace("<name>", ANY_NAME).split("."))]
        vault = {"address": "https://v", "auth": {"method": "token", "token": {"env": "T"}}}
        _, *tables, last = key.split(".")
        documented = tomllib.loads(f"{last} = {stated[key]}")
        if tables:  # one of several tables, or ways, which no one table can hold at once
            assert documented[last] == field.default
            continue
        settings = Settings.model_validate({"vault": vault | documented})
        assert getattr(settings.vault, last) == field.default


@pytest.mark.parametrize("model", [Settings, TenantFile])
def test_keys_without_a_default_are_called_required_or_none(model: type[BaseModel]) -> None:
    known = known_keys(model)
    for key, default in rows(model).items():
        if "quota" in key or key in {"defaults", "schedule.timezone"}:
            continue  # what holds without them depends on what is stated beside them
        field = known[tuple(key.replace("<name>", ANY_NAME).replace("<n>", ANY_ITEM).split("."))]
        assert (default == "required") == field.is_required(), key
        assert default != "none" or field.default is None, key


@pytest.mark.parametrize("model", [Settings, TenantFile])
def test_the_example_of_the_reference_is_valid(model: type[BaseModel]) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", SECTIONS[model], re.DOTALL)
    model.model_validate(tomllib.loads(example))


def test_the_savings_are_those_that_were_counted() -> None:
    counted = json.loads((ROOT / "benchmarks" / "results" / "savings.json").read_text())
    rows = re.findall(r"^\| (.+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    stated = [(name.replace("`", ""), value) for name, *values in rows for value in values]
    assert stated == [(figure["name"].partition(", ")[2], f"{figure['value']:,g}") for figure in counted]
