"""How alerts are shown: the critical ones first, each with what the operator's guide says to do."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from adsyncd.cli.alerts import DO, as_json, in_order, in_words
from adsyncd.model.alert import Alert, AlertName
from support.records import NOON

GUIDE = Path(__file__).parents[3] / "docs" / "operate.md"


def an_alert(tenant: str, name: AlertName, minute: int = 0) -> Alert:
    return Alert(tenant, name, NOON + timedelta(minutes=minute), f"{tenant} is sick")


def test_the_critical_ones_come_first_the_oldest_of_each_kind_before_the_others() -> None:
    late, growing = an_alert("acme", AlertName.LATE, -9), an_alert("acme", AlertName.DEAD_LETTERS_GROWING, -8)
    new, old = an_alert("globex", AlertName.RUNS_FAILING), an_alert("initech", AlertName.NO_SUCCESS, -5)
    assert in_order([growing, late, new, old]) == [old, new, late, growing]


def test_each_is_said_with_its_start_its_summary_and_what_to_do() -> None:
    found = [an_alert("acme", AlertName.SIGN_IN_FAILING), an_alert("globex", AlertName.LATE)]
    assert in_words(found) == [
        "critical: acme: sign_in_failing, since 2026-11-25 13:00:00+01:00",
        "  acme is sick",
        "  do: all tenants at once: Vault or the platform. One: its password; then adsyncd trigger acme",
        "warning: globex: late, since 2026-11-25 13:00:00+01:00",
        "  globex is sick",
        "  do: one of the fixes that adsyncd status globex shows; all tenants at once: the platform or the database",
        "2 alerts: 1 critical, 1 warning",
    ]
    assert in_words([]) == ["no alert fires"]


def test_those_of_many_tenants_for_one_reason_are_said_once_with_the_start_of_the_first() -> None:
    down = [Alert(f"shop-{n}", AlertName.RUNS_FAILING, NOON + timedelta(minutes=n), "503 again") for n in range(1, 41)]
    other = Alert("acme", AlertName.RUNS_FAILING, NOON + timedelta(hours=1), "the certificate has expired")
    assert [line for line in in_words(in_order([*down, other])) if not line.startswith("  do: ")] == [
        "critical: shop-1, shop-2, shop-3 and 37 more: runs_failing, the first since 2026-11-25 13:01:00+01:00",
        "  503 again",
        "critical: acme: runs_failing, since 2026-11-25 14:00:00+01:00",
        "  the certificate has expired",
        "41 alerts: 41 critical",
    ]


def test_json_is_in_utc() -> None:
    shown = as_json(an_alert("acme", AlertName.LATE))
    assert shown["since"] == "2026-11-25T12:00:00Z"
    assert (shown["tenant"], shown["name"], shown["severity"]) == ("acme", "late", "warning")


@pytest.mark.parametrize("name", AlertName)
def test_the_guide_says_the_same(name: AlertName) -> None:
    [row] = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    advice = row.split(" | ")[-1].removesuffix(" |")
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", advice).replace("`", "")
    assert plain == DO[name].format(tenant="acme")
