from collections.abc import Iterator

from adsyncd.telemetry.series import Point, Reading, SeriesTable
from support.clock import SetClock

NOON_NS = 1767225600_000_000_000  # where SetClock begins


def test_a_series_begins_at_zero_and_adds_up() -> None:
    table = SeriesTable(SetClock())
    table.add("runs", 0, {"tenant": "acme", "outcome": "failed"})
    assert table.collect() == {
        "runs": [Point(0, {"adsyncd.tenant": "acme", "adsyncd.outcome": "failed"}, NOON_NS)],
    }
    table.add("runs", 2, {"tenant": "acme", "outcome": "failed"})
    table.add("runs", 1, {"tenant": "acme", "outcome": "failed"})
    [point] = table.collect()["runs"]
    assert point.value == 3


def test_a_tenant_that_is_forgotten_ends_and_begins_anew() -> None:
    clock = SetClock()
    table = SeriesTable(clock)
    table.add("runs", 5, {"tenant": "acme"})
    table.add("runs", 7, {"tenant": "globex"})
    table.set("vault", 1, {})
    table.forget("acme")
    assert {name: [point.value for point in points] for name, points in table.collect().items()} == {
        "runs": [7],
        "vault": [1],
    }
    clock.elapsed_s = 60
    table.add("runs", 0, {"tenant": "acme"})
    assert Point(0, {"adsyncd.tenant": "acme"}, NOON_NS + 60_000_000_000) in table.collect()["runs"]


def test_one_series_can_end_alone() -> None:
    table = SeriesTable(SetClock())
    table.set("alerts", 1, {"tenant": "acme", "alert": "late"})
    table.set("alerts", 1, {"tenant": "acme", "alert": "no_success"})
    table.end("alerts", {"tenant": "acme", "alert": "late"})
    table.end("alerts", {"tenant": "hooli", "alert": "late"})  # which has none
    [point] = table.collect()["alerts"]
    assert point.attributes["adsyncd.alert"] == "no_success"


def test_a_reading_that_fails_costs_no_other_metric() -> None:
    def fails() -> Iterator[Reading]:
        yield "before", 1, {}
        raise ValueError

    table = SeriesTable(SetClock())
    table.observe(fails)
    table.observe(lambda: [("cpu", 4.5, {"cpu.mode": "user"})])
    assert table.collect() == {
        "before": [Point(1, {}, NOON_NS)],
        "cpu": [Point(4.5, {"cpu.mode": "user"}, NOON_NS)],
    }


def test_tenants_share_what_their_series_have_in_common() -> None:
    table = SeriesTable(SetClock())
    for number in range(100):
        table.add("runs", 0, {"tenant": f"t-{number}", "outcome": "failed"})
    assert len(table._kinds) == 1
