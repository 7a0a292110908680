from typing import Any

from adsyncd.telemetry.instruments import CPU_MODE, CPU_TIME, MEMORY_USAGE, PUSHED, QUOTA_PERMITS, RUN_DURATION
from support.clock import SetClock
from support.metrics import Metrics

NOON_NS = 1767225600_000_000_000


def by_name(metrics: Metrics) -> dict[str, dict[str, Any]]:
    return {metric["name"]: metric["data"] for metric in metrics.exported()}


def test_each_kind_of_metric_is_exported_as_the_sdk_exports_it() -> None:
    metrics = Metrics(SetClock())
    metrics.instruments.add(PUSHED, 3, tenant="acme")
    metrics.instruments.set(QUOTA_PERMITS, 4, tenant="acme")
    metrics.instruments.observe(lambda: [(CPU_TIME.name, 1.5, {CPU_MODE: "user"}), (MEMORY_USAGE.name, 4096, {})])
    metrics.instruments.record(RUN_DURATION, 90, outcome="failed")
    data = by_name(metrics)
    assert (data[PUSHED.name]["is_monotonic"], data[PUSHED.name]["aggregation_temporality"]) == (True, 2)
    assert (data[CPU_TIME.name]["is_monotonic"], data[MEMORY_USAGE.name]["is_monotonic"]) == (True, False)
    assert "is_monotonic" not in data[QUOTA_PERMITS.name]
    [point] = data[PUSHED.name]["data_points"]
    assert (point["value"], point["start_time_unix_nano"], point["time_unix_nano"]) == (3, NOON_NS, NOON_NS)
    [duration] = data[RUN_DURATION.name]["data_points"]
    bounds = list(zip(duration["bucket_counts"], [*duration["explicit_bounds"], None], strict=True))
    assert [bound for count, bound in bounds if count] == [120]
    assert (bounds[0][1], bounds[-2][1]) == (1, 3600)


def test_metrics_are_exported_before_the_first_duration() -> None:
    metrics = Metrics()
    metrics.instruments.add(PUSHED, 0, tenant="acme")
    assert by_name(metrics).keys() == {PUSHED.name}


def test_a_counter_is_exported_as_differences_where_a_backend_wants_them() -> None:
    clock = SetClock()
    metrics = Metrics(clock, delta=True)

    def exported() -> list[tuple[float, int, int]]:
        clock.elapsed_s += 10
        data = by_name(metrics)[PUSHED.name]
        assert data["aggregation_temporality"] == 1
        return [
            (point["value"], *((point[at] - NOON_NS) // 10**9 for at in ("start_time_unix_nano", "time_unix_nano")))
            for point in data["data_points"]
        ]

    metrics.instruments.add(PUSHED, 3, tenant="acme")
    assert exported() == [(3, 0, 10)]
    metrics.instruments.add(PUSHED, 2, tenant="acme")
    assert exported() == [(2, 10, 20)]
    assert exported() == [(0, 20, 30)]
    metrics.instruments.forget("acme")
    metrics.instruments.add(PUSHED, 1, tenant="acme")
    assert exported() == [(1, 30, 40)]
