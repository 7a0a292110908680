from datetime import UTC, datetime, timedelta, timezone
from unittest.mock import Mock

import pytest

from adsyncd.store.tables import Instant
from support.records import NOON

BERLIN = timezone(timedelta(hours=1))


def test_an_instant_is_kept_in_utc_whatever_its_zone() -> None:
    kept = Instant().process_bind_param(NOON.astimezone(BERLIN), Mock())
    assert (kept, kept and kept.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize("read", [NOON.replace(tzinfo=None), NOON.astimezone(BERLIN)])
def test_an_instant_comes_back_in_utc_from_both_databases(read: datetime) -> None:
    back = Instant().process_result_value(read, Mock())
    assert (back, back and back.tzinfo) == (NOON, UTC)


def test_an_instant_may_be_missing() -> None:
    assert Instant().process_bind_param(None, Mock()) is None
    assert Instant().process_result_value(None, Mock()) is None
