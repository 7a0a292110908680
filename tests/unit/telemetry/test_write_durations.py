import pytest
from opentelemetry.metrics import NoOpMeter

from adsyncd.store import journal, permits
from adsyncd.telemetry.write_durations import Write, WriteDurations, operation
from support.metrics import Metrics


class Stopwatch:
    """A clock that goes on by so many seconds at each look."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


@pytest.mark.parametrize(
    ("writes", "name"),
    [
        ([journal.settle], "journal.settle"),
        ([journal.settle] * 3, "BATCH journal.settle"),
        ([journal.settle, journal.settle, permits.claim], "BATCH"),
        ([journal.keep], "journal.keep"),
    ],
)
def test_a_transaction_is_named_as_the_conventions_name_batches(writes: list[Write], name: str) -> None:
    assert operation(writes) == name


def test_transactions_are_counted_by_kind_and_error_in_the_conventions_buckets() -> None:
    metrics = Metrics()
    durations = WriteDurations(metrics.meter)
    for _ in range(2):
        with durations.of("sqlite", [journal.settle], Stopwatch(0.02)):
            pass
    with pytest.raises(OSError, match="full"), durations.of("sqlite", [journal.settle], Stopwatch(7.0)):
        raise OSError("full")
    [metric] = metrics.exported()
    assert (metric["name"], metric["unit"]) == ("db.client.operation.duration", "s")
    well, failed = metric["data"]["data_points"]
    assert well["explicit_bounds"] == [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
    known = {"db.system.name": "sqlite", "db.operation.name": "journal.settle"}
    assert (well["attributes"], well["count"], well["sum"]) == (known, 2, pytest.approx(0.04))
    assert (failed["attributes"], failed["sum"]) == (known | {"error.type": "OSError"}, pytest.approx(7.0))


def test_without_an_exporter_nothing_is_measured() -> None:
    def never() -> float:
        raise AssertionError("asked for the time")

    with WriteDurations(NoOpMeter("test")).of("sqlite", [journal.settle], never):
        pass
