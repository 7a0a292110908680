"""The metrics of the process itself, by the names of OpenTelemetry's semantic conventions."""

from collections.abc import Callable, Iterable

from adsyncd.clock import Clock
from adsyncd.host.loop_lag import LoopLag
from adsyncd.host.process_usage import process_usage
from adsyncd.telemetry.instruments import (
    CPU_MODE,
    CPU_TIME,
    EVENT_LOOP_LAG,
    FILE_DESCRIPTORS,
    MEMORY_USAGE,
    UPTIME,
)
from adsyncd.telemetry.series import Reading


def process_metrics(clock: Clock, lag: LoopLag) -> Callable[[], Iterable[Reading]]:
    """Return a function that reads the metrics of this process, which starts now."""
    began = clock.monotonic()

    def read() -> Iterable[Reading]:
        used = process_usage()
        yield CPU_TIME.name, used.user_s, {CPU_MODE: "user"}
        yield CPU_TIME.name, used.system_s, {CPU_MODE: "system"}
        if used.memory is not None:
            yield MEMORY_USAGE.name, used.memory, {}
        if used.files is not None:
            yield FILE_DESCRIPTORS.name, used.files, {}
        yield UPTIME.name, clock.monotonic() - began, {}
        yield EVENT_LOOP_LAG.name, lag.longest_s(), {}

    return read
