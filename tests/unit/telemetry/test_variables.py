import pytest

from adsyncd.telemetry.variables import find_problems, wanted_exporters

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_nothing_is_exported_unless_told() -> None:
    assert [wanted_exporters({}, signal) for signal in ("traces", "metrics", "logs")] == [[], [], []]


def test_an_endpoint_turns_on_every_signal_and_a_signals_own_only_that_one() -> None:
    assert wanted_exporters(ENDPOINT, "logs") == ["otlp"]
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}
    assert wanted_exporters(own, "traces") == ["otlp"]
    assert wanted_exporters(own, "metrics") == []


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("none", []), ("", ["otlp"]), ("console", ["console"]), ("otlp, console", ["otlp", "console"])],
)
def test_a_named_exporter_wins_over_the_endpoint(value: str, wanted: list[str]) -> None:
    assert wanted_exporters(ENDPOINT | {"OTEL_TRACES_EXPORTER": value}, "traces") == wanted


def test_the_disabled_sdk_exports_nothing_and_is_asked_nothing() -> None:
    environ = ENDPOINT | {"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "zipkin"}
    assert wanted_exporters(environ, "traces") == []
    assert find_problems(environ) == []


def test_an_unknown_exporter_is_named_with_its_variable_and_the_mend() -> None:
    assert [str(problem) for problem in find_problems({"OTEL_METRICS_EXPORTER": "otlp,prometheus"})] == [
        "OTEL_METRICS_EXPORTER: 'prometheus' is not supported; choose otlp, console or none"
    ]


def test_another_protocol_is_refused_once_for_all_signals() -> None:
    assert [str(problem) for problem in find_problems(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})] == [
        "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported; use http/protobuf, often port 4318"
    ]


def test_the_protocol_of_a_signal_that_is_not_exported_does_not_matter() -> None:
    assert find_problems({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "console"}) == []
