"""How the probes of all tenants are shown."""

import pytest

from adsyncd.cli.connect import Connected, as_json, connect, summed
from adsyncd.config import Settings
from adsyncd.errors import AdsyncdError
from support.tenants import a_tenant

WELL, SICK = Connected("acme", 0.26), Connected("globex", 1.5, "sign-in", "the platform refused")


def test_a_line_has_the_outcome_and_its_time() -> None:
    assert str(WELL) == "acme: ok (0.3 s)"
    assert str(SICK) == "globex: sign-in: the platform refused (1.5 s)"


def test_the_sum_counts_by_step() -> None:
    assert summed([WELL]) == "1 tenant probed, 1 ok"
    waits = Connected("initech", 0.0, "quota", "used up")
    assert summed([SICK, WELL, waits, SICK]) == "4 tenants probed, 1 ok, 2 failed at sign-in, 1 failed at quota"


def test_json_says_whether_it_went_well() -> None:
    assert as_json(WELL) == {"tenant": "acme", "ok": True, "failed": None, "error": None, "seconds": 0.26}
    assert as_json(SICK)["ok"] is False


def test_a_pattern_that_selects_nobody_is_an_error() -> None:
    with pytest.raises(AdsyncdError, match='no enabled tenant matches "shop-'):
        connect(Settings.model_construct(), [a_tenant()], "shop-*", silent=True)
