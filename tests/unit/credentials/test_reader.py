from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adsyncd.credentials.reader import CredentialsReader
from adsyncd.errors import CredentialsMissing
from adsyncd.tenant import EnvRef, SystemdRef, VaultRef

ENVIRON = {"ACME_EMAIL": "canary-email", "ACME_PASSWORD": "canary-password"}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def reader(spans: InMemorySpanExporter, environ: dict[str, str]) -> CredentialsReader:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return CredentialsReader(None, environ, provider.get_tracer("test"))


async def test_a_read_is_a_span_that_names_its_source_and_holds_no_secret(spans: InMemorySpanExporter) -> None:
    credentials = await reader(spans, ENVIRON).read(EnvRef("ACME"))
    assert credentials.password.get_secret_value() == "canary-password"
    [span] = spans.get_finished_spans()
    assert span.name == "credentials.read"
    assert dict(span.attributes or {}) == {"adsyncd.credentials.source": "environment"}
    assert "canary" not in span.to_json()


async def test_a_failed_read_is_a_span_with_its_error_type(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("canary, not JSON")
    with pytest.raises(CredentialsMissing):
        await reader(spans, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).read(SystemdRef("acme"))
    [span] = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {
        "adsyncd.credentials.source": "systemd",
        "error.type": "CredentialsMissing",
    }
    assert not span.status.is_ok
    assert "canary" not in span.to_json()


async def test_a_reference_to_vault_without_vault_says_what_to_add(spans: InMemorySpanExporter) -> None:
    with pytest.raises(CredentialsMissing, match=r"add \[vault\]"):
        await reader(spans, ENVIRON).read(VaultRef("adsyncd/acme"))


async def test_versions_are_known_of_what_is_in_vault_alone(spans: InMemorySpanExporter) -> None:
    assert reader(spans, ENVIRON).newest(EnvRef("ACME"), until=1e12) is None
    assert reader(spans, ENVIRON).newest(VaultRef("adsyncd/acme"), until=1e12) is None  # the settings name none
