import math

import pytest

from adsyncd.rate.bucket import cooling_s
from adsyncd.rate.carryover import Sent, carry_over

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
NOW = 100_000.0


def sent(ago_s: float, *lengths: int, client: str = "acme", boot: str = "this", **how: float) -> list[Sent]:
    """Return the records of a request that was counted so many seconds ago, under a quota of these windows."""
    at = NOW - ago_s
    in_force_at = how.get("in_force_at", at)
    return [Sent(client, length_ms, boot, at, in_force_at, at, bool(how.get("out"))) for length_ms in lengths]


def test_a_new_window_lacks_what_longer_ones_say_was_sent_within_it() -> None:
    records = sent(10, DAY) + sent(50, DAY, HOUR) + sent(70, DAY)
    assert carry_over(records, "acme", MINUTE, NOW) == ([NOW - 50, NOW - 10], -math.inf)


def test_a_window_that_has_records_lacks_what_was_sent_since_then_without_it() -> None:
    records = sent(50, MINUTE, HOUR) + sent(20, HOUR) + sent(10, HOUR)
    assert carry_over(records, "acme", MINUTE, NOW) == ([NOW - 20, NOW - 10], -math.inf)


def test_what_records_of_a_shorter_window_took_the_place_of_is_waited_for() -> None:
    for records in (sent(10, MINUTE), sent(80_000, HOUR) + sent(10, MINUTE)):
        missing, quiet_until = carry_over(records, "acme", HOUR, NOW)
        assert missing == [NOW - 10]
        assert quiet_until == pytest.approx(NOW - 10 - cooling_s(MINUTE) + cooling_s(HOUR))


def test_nothing_is_waited_for_where_a_longer_window_counted_all_the_time_or_until_less_than_a_shorter_one_ago() -> (
    None
):
    assert carry_over(sent(90, MINUTE, DAY) + sent(10, MINUTE, DAY), "acme", HOUR, NOW) == (
        [NOW - 90, NOW - 10],
        -math.inf,
    )
    assert carry_over(sent(65, DAY) + sent(10, MINUTE), "acme", HOUR, NOW) == ([NOW - 65, NOW - 10], -math.inf)


def test_what_is_on_its_way_is_not_lacking_but_took_the_place_of_a_record() -> None:
    missing, quiet_until = carry_over(sent(70, MINUTE) + sent(5, MINUTE, out=True), "acme", HOUR, NOW)
    assert missing == [NOW - 70]
    assert quiet_until == pytest.approx(NOW - 5 - cooling_s(MINUTE) + cooling_s(HOUR))


def test_a_record_that_is_not_of_its_window_s_own_time_proves_nothing_of_others() -> None:
    carried = sent(10, HOUR, in_force_at=-math.inf) + sent(10, MINUTE)
    _, quiet_until = carry_over(carried, "acme", HOUR, NOW)
    assert quiet_until > NOW


def test_a_platform_lacks_what_all_its_client_ids_sent_each_request_once() -> None:
    records = sent(30, MINUTE, DAY) + sent(20, MINUTE, client="other") + sent(20, HOUR) + sent(10, MINUTE, client="")
    assert carry_over(records, "", MINUTE, NOW) == ([], -math.inf)
    records = sent(30, MINUTE, DAY) + sent(20, MINUTE, client="other") + sent(20, HOUR)
    assert carry_over(records, "", MINUTE, NOW) == ([NOW - 30, NOW - 20, NOW - 20], -math.inf)
    own = sent(20, HOUR, client="", in_force_at=NOW - 25)
    assert carry_over(records + own, "", HOUR, NOW)[0] == [NOW - 20]


def test_records_of_several_boots_are_no_one_s_same_requests() -> None:
    records = sent(20, HOUR) + sent(20, DAY, boot="before")
    assert carry_over(records, "acme", MINUTE, NOW)[0] == [NOW - 20, NOW - 20]


def test_nothing_is_lacking_where_nothing_was_sent() -> None:
    assert carry_over([], "acme", SECOND, NOW) == ([], -math.inf)
