"""Keeps the values of counters and gauges by tenant, so that the series of a tenant begin and end with it.

The SDK never forgets a series, and takes 1.2 KB for each and 18 us at each export (docs/decisions/0027-metrics.md).
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from opentelemetry.util.types import AttributeValue

from adsyncd.clock import Clock
from adsyncd.telemetry.repetition import Repetition

_log = structlog.get_logger(__name__)

_TENANT = "adsyncd.tenant"

Attributes = Mapping[str, AttributeValue]
Reading = tuple[str, float, Attributes]
"""The name of a metric, its value now, and its attributes."""


class Point(NamedTuple):
    """The value of one series. `since_ns`: when it began, in nanoseconds of Unix time."""

    value: float
    attributes: Attributes
    since_ns: int


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, which is fast
class _Kind:
    """A metric and all attributes of a series but the tenant: one object for all tenants."""

    name: str
    attributes: Attributes


@dataclass(slots=True)
class _Group:
    """The series of one tenant, or those of none."""

    since_ns: int
    values: dict[_Kind, float] = field(default_factory=dict)


class SeriesTable:
    """All series of counters and gauges. Thread-safe: runs write it on the event loop, exporters read it in threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._since_ns = self.now_ns()
        self._groups: dict[str | None, _Group] = {}
        self._reads: list[Callable[[], Iterable[Reading]]] = []
        self._said = Repetition()

    def add(self, name: str, amount: float, attributes: Attributes) -> None:
        """Add to the value of a series, which begins at 0."""
        kind, tenant = self._kind(name, attributes)
        with self._lock:
            values = self._group(tenant).values
            values[kind] = values.get(kind, 0) + amount

    def set(self, name: str, value: float, attributes: Attributes) -> None:
        """Set the value of a series."""
        kind, tenant = self._kind(name, attributes)
        with self._lock:
            self._group(tenant).values[kind] = value

    def end(self, name: str, attributes: Attributes) -> None:
        """End a series; its next value begins another one."""
        kind, tenant = self._kind(name, attributes)
        with self._lock:
            if tenant in self._groups:
                self._groups[tenant].values.pop(kind, None)

    def forget(self, tenant: str) -> None:
        """End all series of a tenant."""
        with self._lock:
            self._groups.pop(tenant, None)

    def observe(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Ask `read` for values at each export. It runs on the exporter's thread.

        A series that it leaves out ends. If it fails, its other series are exported.
        """
        self._reads.append(read)

    def collect(self) -> dict[str, list[Point]]:
        """Return the points of all series by the name of their metric."""
        points: dict[str, list[Point]] = {}
        with self._lock:
            groups = list(self._groups.items())
        for tenant, group in groups:
            with self._lock:
                values = list(group.values.items())
            for kind, value in values:
                attributes = kind.attributes if tenant is None else {_TENANT: tenant, **kind.attributes}
                points.setdefault(kind.name, []).append(Point(value, attributes, group.since_ns))
        for read in self._reads:
            try:
                for name, value, attributes in read():
                    points.setdefault(name, []).append(Point(value, attributes, self._since_ns))
            except Exception as error:  # noqa: BLE001 - a mistake in one reading costs no other metric
                news = self._said.is_news("read", repr(error), self._clock.monotonic())
                (_log.error if news else _log.debug)("metrics can't be read", exc_info=True)
        return points

    def _kind(self, name: str, attributes: Attributes) -> tuple[_Kind, str | None]:
        """Return the kind of a series, and its tenant. An attribute `outcome` becomes `adsyncd.outcome`."""
        key = (name, *(item for item in attributes.items() if item[0] != "tenant"))
        kind = self._kinds.get(key)
        if kind is None:
            rest = {f"adsyncd.{key}": value for key, value in attributes.items() if key != "tenant"}
            kind = self._kinds.setdefault(key, _Kind(name, rest))
        tenant = attributes.get("tenant")
        return kind, None if tenant is None else str(tenant)

    def _group(self, tenant: str | None) -> _Group:
        if (group := self._groups.get(tenant)) is None:
            group = self._groups[tenant] = _Group(self._since_ns if tenant is None else self.now_ns())
        return group

    def now_ns(self) -> int:
        """Return the Unix time in nanoseconds."""
        return int(self._clock.now().timestamp() * 1e9)
