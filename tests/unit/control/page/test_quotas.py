from dataclasses import replace

import pytest

from adsyncd.control.overview import QuotasPage
from adsyncd.control.page.quotas import quotas_view
from support.drawn import PLATFORMS, QUOTAS, UP
from support.records import NOON

PAGE = QuotasPage(PLATFORMS, QUOTAS, 188, 3, 4, None)


@pytest.mark.parametrize(
    ("total", "over", "close", "sentence"),
    [
        (188, 3, 4, "3 of 188 tenants have too little quota, 4 are close."),
        (188, 1, 0, "1 of 188 tenants has too little quota."),
        (188, 0, 1, "Every tenant has enough quota, 1 is close."),
        (188, 0, 0, "Every tenant has enough quota."),
        (0, 0, 0, "No tenant has a quota yet."),
    ],
)
def test_a_sentence_says_how_many_are_close(total: int, over: int, close: int, sentence: str) -> None:
    assert quotas_view(UP, replace(PAGE, total=total, over=over, close=close), NOON).sentence == sentence


def test_platforms_say_whether_their_quota_is_shared_and_what_is_down() -> None:
    mixo, adgrid = quotas_view(UP, PAGE, NOON).platforms
    assert (mixo.quota, mixo.free, mixo.breaker) == ("1,000 requests per 60s, for its 164 tenants together", "391", "")
    assert (adgrid.quota, adgrid.load, adgrid.free) == ("no quota of its own, 36 tenants", None, "")
    assert adgrid.breaker


def test_a_row_has_what_is_needed_and_its_fixes() -> None:
    first = quotas_view(UP, PAGE, NOON).rows[0]
    assert first.load
    assert (first.tenant, first.load.words, first.load.kind, first.waited) == ("cyberdyne", "275 %", "badt", "59m 00s")
    assert len(first.fixes) == 2
