"""Durations of the store's transactions, by the stable semantic conventions for database clients.

One record for each transaction: a transaction holds up to a thousand writes, and a record takes 10 us in the SDK.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType
from typing import Any

from opentelemetry.metrics import Histogram, Meter, NoOpHistogram
from opentelemetry.util.types import AttributeValue

from adsyncd.telemetry.instruments import DB_DURATION, DB_OPERATION, DB_SYSTEM, ERROR_TYPE, error_type

Write = Callable[..., Any]  # a kind of write: the function that does it


class WriteDurations:
    """Records how long transactions took, from their beginning to their commit. Thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._histogram: Histogram = meter.create_histogram(
            DB_DURATION.name,
            DB_DURATION.unit,
            DB_DURATION.description,
            explicit_bucket_boundaries_advisory=DB_DURATION.buckets,
        )
        self._is_idle = isinstance(self._histogram, NoOpHistogram)

    def of(self, system: str, writes: Iterable[Write], monotonic: Callable[[], float]) -> AbstractContextManager[None]:
        """Measure a block that does `writes` in one transaction of the database `system`."""
        return nullcontext() if self._is_idle else _Measured(self._histogram, system, writes, monotonic)


class _Measured(AbstractContextManager[None]):
    __slots__ = ("_began", "_histogram", "_monotonic", "_operation", "_system")

    def __init__(
        self, histogram: Histogram, system: str, writes: Iterable[Write], monotonic: Callable[[], float]
    ) -> None:
        self._histogram = histogram
        self._system = system
        self._operation = operation(writes)
        self._monotonic = monotonic

    def __enter__(self) -> None:
        self._began = self._monotonic()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        took_s = self._monotonic() - self._began
        how = None if error is None else error_type(error)
        self._histogram.record(took_s, _attributes(self._system, self._operation, how))


def operation(writes: Iterable[Write]) -> str:
    """Return `db.operation.name` of a transaction, as the conventions have it for batches."""
    kinds, number = set(), 0
    for write in writes:
        kinds.add(write)
        number += 1
    if len(kinds) > 1:
        return "BATCH"
    name = write_name(kinds.pop())
    return name if number == 1 else f"BATCH {name}"


@cache
def write_name(write: Write) -> str:
    """Return the name of a kind of write: `journal.settle`."""
    return f"{write.__module__.rpartition('.')[2]}.{write.__name__}"


@cache
def _attributes(system: str, name: str, error: str | None) -> Mapping[str, AttributeValue]:
    known: dict[str, AttributeValue] = {DB_SYSTEM: system, DB_OPERATION: name}
    return known if error is None else known | {ERROR_TYPE: error}
