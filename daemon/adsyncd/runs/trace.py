"""What the root span of a run tells: what the run did and waited for, and which trace it goes on from."""

from collections.abc import Mapping

from opentelemetry.trace import Link, SpanContext
from opentelemetry.util.types import AttributeValue

from adsyncd.model.run import Run
from adsyncd.rate.wait import WaitReason

FIELDS = {
    name: f"adsyncd.run.{name}"
    for name in (
        *("listed", "pushed", "skipped", "stored", "dead_lettered", "failed"),
        *("requests", "retries", "refused", "skipped_ticks", "late_s"),
    )
}  # by the run's field
WAITS = {reason: f"adsyncd.run.waits_s.{reason.name.lower()}" for reason in WaitReason}


def attributes_of(run: Run) -> Mapping[str, AttributeValue]:
    """Return the attributes that a run's root span gets at its end."""
    did: dict[str, AttributeValue] = {name: getattr(run, field) for field, name in FIELDS.items()}
    return did | {WAITS[reason]: round(seconds, 3) for reason, seconds in run.waits.items()}


def links_to(before: Run | None) -> list[Link]:
    """Return the links of the root span of a run that resumes `before`, its record: one to the root span before it.

    There is none if that had no ids, because telemetry was disabled.
    """
    if before is None:
        return []
    context = SpanContext(int(before.trace_id, 16), int(before.span_id or "0", 16), is_remote=True)
    return [Link(context)] if context.is_valid else []
