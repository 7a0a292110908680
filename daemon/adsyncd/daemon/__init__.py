"""The composition root: builds all parts, owns the exit stack and the task group, starts and stops.

settings ─► telemetry ─► store ─► Vault ─► supervisor ─► ticks ─► drop-ins          stop: in reverse order

`service` is the daemon. It stands apart because a single sync would import all that only a daemon needs.
"""

from adsyncd.daemon.once import probe_once, replay_once, sync_once
from adsyncd.daemon.parts import Parts, open_parts

__all__ = ["Parts", "open_parts", "probe_once", "replay_once", "sync_once"]
