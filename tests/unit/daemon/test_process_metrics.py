from adsyncd.daemon.process_metrics import process_metrics
from adsyncd.host.loop_lag import LoopLag
from adsyncd.telemetry.instruments import CPU_TIME, EVENT_LOOP_LAG, FILE_DESCRIPTORS, MEMORY_USAGE, UPTIME
from support.clock import SetClock


def test_the_process_is_measured_by_the_standard_names() -> None:
    clock = SetClock()
    read = process_metrics(clock, LoopLag(clock))
    clock.elapsed_s = 90
    values = {(name, *attributes.values()): value for name, value, attributes in read()}
    assert values.keys() == {
        (CPU_TIME.name, "user"),
        (CPU_TIME.name, "system"),
        (MEMORY_USAGE.name,),
        (FILE_DESCRIPTORS.name,),
        (UPTIME.name,),
        (EVENT_LOOP_LAG.name,),
    }
    assert (values[UPTIME.name,], values[EVENT_LOOP_LAG.name,]) == (90, 0)
    assert values[CPU_TIME.name, "user"] > 0
