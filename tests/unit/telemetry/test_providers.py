import os
import threading
from unittest import mock

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_tracer_provider

from adsyncd.errors import ConfigError
from adsyncd.telemetry import open_telemetry
from adsyncd.telemetry.instruments import PUSHED, span
from support.otlp import otel_environ


async def test_without_variables_nothing_is_recorded_or_exported_but_traces_have_ids() -> None:
    threads = threading.active_count()
    with otel_environ():
        async with open_telemetry(os.environ) as telemetry:
            with span(telemetry.tracer, "sync.run") as current:
                telemetry.instruments.add(PUSHED, 1, tenant="acme")
                assert current.get_span_context().is_valid
                assert not current.is_recording()
            assert telemetry.logger_provider is None
            assert threading.active_count() == threads


async def test_a_value_that_is_not_supported_is_refused_before_anything_starts() -> None:
    threads = threading.active_count()
    with (
        otel_environ(OTEL_TRACES_EXPORTER="zipkin", OTEL_METRICS_EXPORTER="console"),
        pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER: 'zipkin' is not supported"),
    ):
        async with open_telemetry(os.environ):
            pass
    assert threading.active_count() == threads


async def test_a_value_that_the_sdk_alone_refuses_is_a_config_error() -> None:
    with (
        otel_environ(OTEL_LOGS_EXPORTER="console", OTEL_BLRP_MAX_QUEUE_SIZE="0"),
        mock.patch("adsyncd.telemetry.refuse_wrong"),
        pytest.raises(ConfigError, match="max_queue_size must be a positive integer"),
    ):
        async with open_telemetry(os.environ):
            pass


async def test_a_variable_that_is_empty_counts_as_unset() -> None:
    with otel_environ(OTEL_TRACES_EXPORTER="console", OTEL_BSP_MAX_QUEUE_SIZE="", OTEL_TRACES_SAMPLER=" "):
        async with open_telemetry(os.environ):
            assert os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] == "16384"
            assert "OTEL_TRACES_SAMPLER" not in os.environ


async def test_operators_keep_their_own_limits() -> None:
    with otel_environ(OTEL_BSP_MAX_QUEUE_SIZE="4096"):
        async with open_telemetry(os.environ):
            assert os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] == "4096"
            assert os.environ["OTEL_BLRP_MAX_QUEUE_SIZE"] == "16384"


async def test_no_provider_becomes_global() -> None:
    with otel_environ(OTEL_TRACES_EXPORTER="console"):
        async with open_telemetry(os.environ):
            assert not isinstance(get_tracer_provider(), TracerProvider)
