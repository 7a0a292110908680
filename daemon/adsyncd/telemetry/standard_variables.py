"""Reads and checks the standard variables that adsyncd follows: `OTEL_*` and those of TLS.

They are checked before OpenTelemetry's SDK is imported, which may raise, lose all telemetry or log a secret if one is
wrong. They mean what the specification says, with one exception: without an exporter or an endpoint nothing is exported
(docs/decisions/0003-export-only-when-told.md).
"""

from collections.abc import Iterator, Mapping

from adsyncd.errors import ConfigError, Problem
from adsyncd.telemetry.variable_checks import (
    MOST_PORT,
    Check,
    address,
    attributes,
    authorities,
    exporters,
    file,
    headers,
    host,
    installed,
    one_of,
    protocol,
    share,
    time_in,
    whole,
)

SIGNALS = ("traces", "metrics", "logs")
DEFAULTS = {  # in place of unsuitable ones of the SDK
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1024",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "16384",  # the end of a stack trace has the error
    "OTEL_BSP_MAX_QUEUE_SIZE": "16384",  # the SDK's 2,048 are too few when hundreds of runs begin together
    "OTEL_BLRP_MAX_QUEUE_SIZE": "16384",
}
_BATCH = "512"  # the SDK's default
PROMETHEUS_HOST, PROMETHEUS_PORT = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"


def _lowered(value: str) -> str:
    return value.strip().lower()


def _batches(prefix: str) -> dict[str, Check]:
    names = ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "SCHEDULE_DELAY", "EXPORT_TIMEOUT")
    return {f"{prefix}_{name}": whole(1) for name in names}


_ALWAYS: dict[str, Check] = {
    "OTEL_SDK_DISABLED": one_of("true", "false", fold=_lowered),
    "OTEL_PROPAGATORS": installed("opentelemetry_propagator", "tracecontext", "baggage", "none"),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": whole(0),
    "OTEL_SPAN_LINK_COUNT_LIMIT": whole(0),
    **{
        f"OTEL_{of}ATTRIBUTE_{limit}_LIMIT": whole(0)
        for of in ("", "SPAN_", "EVENT_", "LINK_", "LOGRECORD_")
        for limit in ("COUNT", "VALUE_LENGTH")
    },
    "SSL_CERT_FILE": authorities,
    "SSL_CERT_DIR": authorities,
    "REQUESTS_CA_BUNDLE": authorities,
    "CURL_CA_BUNDLE": authorities,
}
_WHERE_EXPORTED: dict[str, Check] = {
    "OTEL_RESOURCE_ATTRIBUTES": attributes,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": installed("opentelemetry_resource_detector", "otel", "process", "*"),
}
_OF_SIGNAL: dict[str, dict[str, Check]] = {
    "traces": {
        "OTEL_TRACES_SAMPLER": one_of(
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
            fold=str.lower,
        ),
        "OTEL_TRACES_SAMPLER_ARG": share,
        **_batches("OTEL_BSP"),
    },
    "metrics": {
        "OTEL_METRIC_EXPORT_INTERVAL": time_in("milliseconds"),
        "OTEL_METRIC_EXPORT_TIMEOUT": time_in("milliseconds"),
        "OTEL_METRICS_EXEMPLAR_FILTER": one_of("trace_based", "always_on", "always_off"),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": one_of("cumulative", "delta", "lowmemory", fold=_lowered),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": one_of(
            "explicit_bucket_histogram", "base2_exponential_bucket_histogram", fold=_lowered
        ),
    },
    "logs": _batches("OTEL_BLRP"),
}
_OTLP: dict[
    str, Check
] = {  # `OTEL_EXPORTER_OTLP_TIMEOUT` is for all signals, `OTEL_EXPORTER_OTLP_LOGS_TIMEOUT` for one
    "PROTOCOL": protocol,
    "ENDPOINT": address,
    "HEADERS": headers,
    "TIMEOUT": time_in("seconds"),
    "COMPRESSION": one_of("none", "gzip", "deflate", fold=_lowered),
    "CERTIFICATE": authorities,
    "CLIENT_CERTIFICATE": file,
    "CLIENT_KEY": file,
}


def wanted_exporters(environ: Mapping[str, str], signal: str) -> list[str]:
    """Return the exporters of `traces`, `metrics` or `logs`, by name; `otlp` if only an endpoint is given."""
    if _lowered(environ.get("OTEL_SDK_DISABLED", "")) == "true":
        return []
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    default = "otlp" if any(environ.get(name) for name in endpoints) else "none"
    names = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or default
    return [name for part in names.split(",") if (name := part.strip()) != "none"]


def scrape_address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port at which Prometheus finds the metrics."""
    return environ.get(PROMETHEUS_HOST, "").strip() or "localhost", int(
        environ.get(PROMETHEUS_PORT, "").strip() or 9464
    )


def refuse_wrong(environ: Mapping[str, str]) -> None:
    """Raise ConfigError with every problem of the variables, if there is one."""
    if problems := find_problems(environ):
        raise ConfigError(problems)


def find_problems(environ: Mapping[str, str]) -> list[Problem]:
    """Return each problem once. Variables that no wanted exporter uses are not checked."""
    found = [
        Problem(None, None, variable, *wrong)
        for variable, check in _checks(environ)
        if (value := environ.get(variable, "")).strip() and (wrong := check(value))
    ]
    return list(dict.fromkeys(found)) or list(_batches_too_big(environ))


def unneeded(environ: Mapping[str, str]) -> list[str]:
    """Return the variables to hide from the SDK, such as empty ones, which it parses as numbers and complains about.

    By the specification an empty variable is unset, except a limit, where empty means no limit.
    """
    exports = any(wanted_exporters(environ, signal) for signal in SIGNALS)
    return [
        name
        for name, value in environ.items()
        if name.startswith("OTEL_")
        and ((not value.strip() and not name.endswith("_LIMIT")) or (name in _WHERE_EXPORTED and not exports))
    ]


def _checks(environ: Mapping[str, str]) -> Iterator[tuple[str, Check]]:
    yield from _ALWAYS.items()
    wanted = {signal: names for signal in SIGNALS if (names := wanted_exporters(environ, signal))}
    if wanted:
        yield from _WHERE_EXPORTED.items()
    for signal, names in wanted.items():
        yield f"OTEL_{signal.upper()}_EXPORTER", exporters("prometheus") if signal == "metrics" else exporters()
        yield from _OF_SIGNAL[signal].items()
        if "prometheus" in names:
            yield PROMETHEUS_HOST, host
            yield PROMETHEUS_PORT, whole(1, MOST_PORT)
        if "otlp" in names:
            for name, check in _OTLP.items():
                own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"
                yield own if environ.get(own) else f"OTEL_EXPORTER_OTLP_{name}", check


def _batches_too_big(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Find batches larger than their queue, in otherwise valid variables."""
    for signal, prefix in (("traces", "OTEL_BSP"), ("logs", "OTEL_BLRP")):
        queue, batch = f"{prefix}_MAX_QUEUE_SIZE", f"{prefix}_MAX_EXPORT_BATCH_SIZE"
        most, size = environ.get(queue, "").strip() or DEFAULTS[queue], environ.get(batch, "").strip() or _BATCH
        if wanted_exporters(environ, signal) and int(size) > int(most):
            yield Problem(None, None, batch, f"is {size}, more than {queue} has room for", f"choose {most} at most")
