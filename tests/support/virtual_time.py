"""The simulation's virtual time, for tests: `anyio_backend` is `BACKEND`."""

from adsyncd.simulation.virtual_time import BACKEND, START, VirtualClock

__all__ = ["BACKEND", "START", "VirtualClock"]
