import io
import json

import structlog
from opentelemetry.sdk.trace import TracerProvider

from adsyncd.runs.trace import FIELDS, WAITS
from adsyncd.store import store
from adsyncd.telemetry import instruments, log
from adsyncd.telemetry.standard_variables import DEFAULTS
from adsyncd.telemetry.write_durations import write_name
from support import page
from support.logging_state import flush, restored_logging

PAGE = page.read("telemetry.md")


def table(first_column: str) -> dict[str, list[str]]:
    """The other cells of each row, by the name in its first cell."""
    return {name.strip("`"): [cell.strip("`") for cell in rest] for name, *rest in page.rows(PAGE, first_column)}


def constants(kind: str = "") -> set[str]:
    """The names that begin with `kind`; those of attributes begin with none."""
    return {
        value
        for name, value in vars(instruments).items()
        if name.isupper()
        and isinstance(value, str)
        and (name.startswith(kind) if kind else not name.startswith(("SPAN_", "EVENT_")))
    }


def test_each_span_attribute_and_span_event_is_documented() -> None:
    assert table("span").keys() - {"{method} {url.template}"} == constants("SPAN_")
    documented = {name for names in table("attribute") for name in names.split("`, `")}
    assert documented == constants() | {*FIELDS.values()} | {*WAITS.values()}
    assert table("span event").keys() == constants("EVENT_")


def test_each_metric_is_documented_as_it_is() -> None:
    assert table("metric") == {
        metric.name: [metric.kind, metric.unit, metric.description]
        for metric in (*instruments.METRICS, instruments.HTTP_DURATION, instruments.DB_DURATION)
    }


def test_the_kinds_of_writes_that_are_named_exist() -> None:
    named = {name for names in table("kind of write") for name in names.split("`, `")}
    assert named <= {write_name(write) for write in store._TOUCHES}


def test_our_defaults_for_variables_are_documented() -> None:
    assert {name: default for name, (default, _) in table("variable").items()} == DEFAULTS


def test_the_fields_of_a_log_line_are_documented() -> None:
    stream = io.StringIO()
    with (
        restored_logging(),
        TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("sync.run"),
        structlog.contextvars.bound_contextvars(tenant="acme", run_id="acme-1"),
    ):
        log.configure("info", stream)
        structlog.get_logger("adsyncd").error("run failed", exc_info=ValueError())
        flush()
    assert table("field").keys() == json.loads(stream.getvalue()).keys()
