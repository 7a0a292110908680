import io
import json
import re
from pathlib import Path

import structlog
from opentelemetry.sdk.trace import TracerProvider

from adsyncd.telemetry import instruments, log
from adsyncd.telemetry.standard_variables import DEFAULTS
from support.logging_state import flush, restored_logging

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")


def table(first_column: str) -> dict[str, list[str]]:
    """The other cells of each row, by the name in its first cell."""
    rows = re.search(rf"^\| {first_column} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert rows
    cells = [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]
    return {name: rest for name, *rest in cells}


def constants(kind: str = "") -> set[str]:
    """The names that begin with `kind`; those of attributes begin with none."""
    return {
        value
        for name, value in vars(instruments).items()
        if name.isupper()
        and isinstance(value, str)
        and (name.startswith(kind) if kind else not name.startswith(("SPAN_", "EVENT_")))
    }


def test_each_span_is_documented() -> None:
    assert table("span").keys() - {"GET`, `POST"} == constants("SPAN_")


def test_each_attribute_is_documented() -> None:
    assert table("attribute").keys() == constants()


def test_each_span_event_is_documented() -> None:
    assert table("span event").keys() == constants("EVENT_")


def test_each_metric_is_documented_as_it_is() -> None:
    assert table("metric") == {
        metric.name: [metric.kind, metric.unit, metric.description]
        for metric in (*instruments.METRICS, instruments.HTTP_DURATION)
    }


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
