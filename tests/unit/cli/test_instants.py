"""Instants as operators write them."""

from datetime import timedelta

import pytest

from adsyncd.cli.instants import instant
from support.records import NOON


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("2h", timedelta(hours=2)),
        ("1h30m", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        ("2026-11-25T11:00:00Z", timedelta(hours=1)),
        ("2026-11-25T12:30:00+01:00", timedelta(minutes=30)),
        ("2026-11-25 12:00+00:00", timedelta(0)),
        ("2026-11-26T12:00:00Z", timedelta(days=-1)),
    ],
)
def test_an_instant_is_so_long_ago_or_has_a_zone(text: str, ago: timedelta) -> None:
    assert instant(text, NOON) == NOON - ago


@pytest.mark.parametrize(
    "text", ["", "2", "2 h", "-2h", "yesterday", "2026-11-25", "2026-11-25T12:00:00", "0001-01-01T00:00:00+05:00"]
)
def test_anything_else_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match='such as "2h", or an instant with its zone'):
        instant(text, NOON)
