import re
from dataclasses import fields
from pathlib import Path

import pytest

from adsyncd.rate.bucket import GUARD_S, GUARD_SHARE
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS, PlatformPlan, TenantPlan

PAGE = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("header", "values"), [("tenant's key", TenantPlan), ("platform's key", PlatformPlan)])
def test_each_key_is_documented_in_its_order(header: str, values: type[TenantPlan | PlatformPlan]) -> None:
    table = re.search(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table
    keys = [name for row in table[1].splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert keys == [field.name for field in fields(values)]


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"assumes {ASSUMED_CAMPAIGNS} campaigns" in " ".join(PAGE.split())
    assert f"{GUARD_SHARE:.1%} and {GUARD_S * 1000:g} ms".replace("%", " %") in PAGE
