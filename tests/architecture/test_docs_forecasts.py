"""docs/plan.md and docs/simulate.md describe `plan` and `simulate` as they are."""

import inspect
from dataclasses import fields

import pytest

from adsyncd.cli.simulate import simulate
from adsyncd.rate.bucket import GUARD_S, GUARD_SHARE
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS, PlatformPlan, TenantPlan
from adsyncd.simulation.forecast import Forecast
from mock_api.app import create_app
from support import page

PLAN, SIMULATE = page.read("plan.md"), page.read("simulate.md")


@pytest.mark.parametrize(
    ("text", "header", "values", "more"),
    [
        (PLAN, "tenant's key", TenantPlan, []),
        (PLAN, "platform's key", PlatformPlan, []),
        (SIMULATE, "key", Forecast, ["keeps_schedule"]),
    ],
)
def test_each_key_is_documented_in_its_order(
    text: str, header: str, values: type[TenantPlan | PlatformPlan | Forecast], more: list[str]
) -> None:
    assert page.names(text, header) == [*(field.name for field in fields(values)), *more]


def test_the_numbers_of_plan_are_those_of_the_code() -> None:
    assert f"assumes {ASSUMED_CAMPAIGNS} campaigns" in " ".join(PLAN.split())
    assert f"{GUARD_SHARE:.1%} and {GUARD_S * 1000:g} ms".replace("%", " %") in PLAN


def test_each_option_of_simulate_and_its_platform_are_documented() -> None:
    options = {f"--{name}" for name in inspect.signature(simulate).parameters}
    assert set(page.names(SIMULATE, "option")) == options | {"--healthy"}
    assert f"by default `{create_app.__module__}:{create_app.__name__}`" in " ".join(SIMULATE.split())
