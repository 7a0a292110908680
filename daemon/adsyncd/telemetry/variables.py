"""What the `OTEL_*` variables ask us to export, as far as the SDK leaves that to us.

They are those of the OpenTelemetry specification, but for one default: without an exporter or an endpoint nothing is
exported (docs/decisions/0003-export-only-when-told.md).
"""

from collections.abc import Iterator, Mapping

from adsyncd.errors import Problem

_PROTOCOL = "http/protobuf"


def wanted_exporters(environ: Mapping[str, str], signal: str) -> list[str]:
    """Return the exporters of `traces`, `metrics` or `logs`, by name; `otlp` if only an endpoint is given."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    default = "otlp" if any(environ.get(name) for name in endpoints) else "none"
    names = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or default
    return [name for part in names.split(",") if (name := part.strip()) != "none"]


def find_problems(environ: Mapping[str, str]) -> list[Problem]:
    """Return what can't be done of what is asked, each thing once."""
    signals = ("traces", "metrics", "logs")
    return list(dict.fromkeys(problem for signal in signals for problem in _problems(environ, signal)))


def _problems(environ: Mapping[str, str], signal: str) -> Iterator[Problem]:
    wanted = wanted_exporters(environ, signal)
    for name in wanted:
        if name not in ("otlp", "console"):
            variable = f"OTEL_{signal.upper()}_EXPORTER"
            yield Problem(None, None, variable, f"{name!r} is not supported", "choose otlp, console or none")
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environ.get(variable) or _PROTOCOL
        if "otlp" in wanted and protocol != _PROTOCOL:
            yield Problem(None, None, variable, f"{protocol!r} is not supported", f"use {_PROTOCOL}, often port 4318")
