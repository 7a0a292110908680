"""One log for us and our libraries, which a reader that stands still does not hold up.

log ─► line_queue ─► a thread ─► standard error, or journal
   └─► OpenTelemetry
"""

from adsyncd.logs.log import Log, configure

__all__ = ["Log", "configure"]
