import pytest

from adsyncd.telemetry.standard_variables import SIGNALS, find_problems, scrape_address, unneeded, wanted_exporters

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


def test_an_unknown_exporter_is_named_with_its_variable_and_the_fix() -> None:
    assert [str(problem) for problem in find_problems({"OTEL_TRACES_EXPORTER": "otlp,prometheus"})] == [
        "OTEL_TRACES_EXPORTER: 'prometheus' is not supported; choose otlp, console or none"
    ]
    assert [str(problem) for problem in find_problems({"OTEL_METRICS_EXPORTER": "otlp,statsd"})] == [
        "OTEL_METRICS_EXPORTER: 'statsd' is not supported; choose otlp, console, prometheus or none"
    ]


SCRAPED = {"OTEL_METRICS_EXPORTER": "otlp,prometheus"}


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::", "fe80::1", "metrics.example.com"])
def test_prometheus_finds_the_metrics_at_the_address_of_the_variables(host: str) -> None:
    variables = {"OTEL_EXPORTER_PROMETHEUS_HOST": host, "OTEL_EXPORTER_PROMETHEUS_PORT": "9000"}
    assert find_problems(SCRAPED | variables) == []
    assert scrape_address(variables) == (host, 9000)
    assert scrape_address(dict.fromkeys(variables, "")) == ("localhost", 9464)


@pytest.mark.parametrize("port", ["0", "65536", "http", "9464/tcp"])
def test_a_port_that_is_none_is_named_where_it_is_used(port: str) -> None:
    variables = {"OTEL_EXPORTER_PROMETHEUS_PORT": port}
    [problem] = find_problems(SCRAPED | variables)
    assert str(problem) == (
        "OTEL_EXPORTER_PROMETHEUS_PORT: must be a whole number from 1 to 65535; write a number without a unit, or"
        " remove the variable"
    )
    assert find_problems({"OTEL_METRICS_EXPORTER": "console"} | variables) == []


@pytest.mark.parametrize("host", ["http://localhost", "localhost:9464", "[::1]", "a b"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    [problem] = find_problems(SCRAPED | {"OTEL_EXPORTER_PROMETHEUS_HOST": host})
    assert str(problem) == (
        "OTEL_EXPORTER_PROMETHEUS_HOST: is not the name or address of a host; write localhost or 0.0.0.0, without a"
        " port"
    )


def test_another_protocol_is_refused_once_for_all_signals() -> None:
    assert [str(problem) for problem in find_problems(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})] == [
        "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported; use http/protobuf, often port 4318"
    ]


def test_the_protocol_of_a_signal_that_is_not_exported_does_not_matter() -> None:
    assert find_problems({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "console"}) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer KEY"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization: Bearer KEY"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/nowhere.pem"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "bogus"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "bogus"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "abc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "1s"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "x"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "bogus"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "7"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a,b=c"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "bogus"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "x"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem"),
    ],
)
def test_a_value_that_cannot_be_used_as_it_stands_is_a_problem_of_its_variable_told_once(
    variable: str, value: str
) -> None:
    [problem] = find_problems(ENDPOINT | {variable: value})
    assert problem.key == variable
    assert problem.what
    assert problem.fix


def test_what_a_signal_says_for_itself_hides_what_is_said_for_all() -> None:
    wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}
    own = {f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT": "http://collector:4318" for signal in SIGNALS}
    assert find_problems(wrong | own) == []


def test_what_concerns_no_exporter_that_is_wanted_is_not_looked_at() -> None:
    others = {"OTEL_BSP_MAX_QUEUE_SIZE": "abc", "OTEL_RESOURCE_ATTRIBUTES": "a", "OTEL_TRACES_SAMPLER": "bogus"}
    assert find_problems(others) == []
    assert find_problems({"OTEL_TRACES_EXPORTER": "console", "OTEL_EXPORTER_OTLP_HEADERS": "a: b"}) == []
    assert find_problems({"OTEL_PROPAGATORS": "b3"})  # the SDK's import raises in any case


@pytest.mark.parametrize("variable", ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER"])
def test_an_empty_variable_counts_as_unset(variable: str) -> None:
    assert find_problems(ENDPOINT | {variable: ""}) == []


@pytest.mark.parametrize(
    ("sizes", "what"),
    [
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "16"}, "is 512, more than OTEL_BSP_MAX_QUEUE_SIZE has room for"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20000"}, "is 20000, more than OTEL_BSP_MAX_QUEUE_SIZE has room for"),
    ],
)
def test_a_batch_that_is_bigger_than_its_queue_is_named(sizes: dict[str, str], what: str) -> None:
    [problem] = find_problems(ENDPOINT | sizes)
    assert (problem.key, problem.what) == ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", what)


def test_the_sdk_sees_no_variable_that_is_empty_and_of_a_resource_only_if_something_is_exported() -> None:
    environ = {
        "OTEL_BSP_MAX_QUEUE_SIZE": " ",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "",
        "OTEL_RESOURCE_ATTRIBUTES": "a",
        "A": "",
    }
    assert unneeded(environ) == ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_RESOURCE_ATTRIBUTES"]
    assert unneeded(environ | ENDPOINT) == ["OTEL_BSP_MAX_QUEUE_SIZE"]
