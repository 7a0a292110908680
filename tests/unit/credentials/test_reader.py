from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adsyncd.credentials.reader import CredentialsReader, remark
from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import EnvRef, SystemdRef, VaultRef
from support.spans import Spans

ENVIRON = {"ACME_EMAIL": "canary-email", "ACME_PASSWORD": "canary-password"}


@pytest.fixture
def spans() -> Spans:
    return Spans()


def reader(spans: Spans, environ: dict[str, str]) -> CredentialsReader:
    return CredentialsReader(None, environ, spans.tracer)


async def test_a_read_is_a_span_that_names_its_source_and_holds_no_secret(spans: Spans) -> None:
    credentials = await reader(spans, ENVIRON).read(EnvRef("ACME"))
    assert credentials.secret("password").get_secret_value() == "canary-password"
    [span] = spans.all()
    assert span.name == "credentials.read"
    assert dict(span.attributes or {}) == {"adsyncd.credentials.source": "environment"}
    assert "canary" not in span.to_json()


async def test_a_failed_read_is_a_span_with_its_error_type(spans: Spans, tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("canary, not JSON")
    with pytest.raises(CredentialsMissing):
        await reader(spans, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).read(SystemdRef("acme"))
    [span] = spans.all()
    assert dict(span.attributes or {}) == {"adsyncd.credentials.source": "systemd", "error.type": "CredentialsMissing"}
    assert not span.status.is_ok
    assert "canary" not in span.to_json()


async def test_a_reference_to_vault_without_vault_says_what_to_add(spans: Spans) -> None:
    with pytest.raises(CredentialsMissing, match=r"add \[vault\]"):
        await reader(spans, ENVIRON).read(VaultRef("adsyncd/acme"))


async def test_versions_are_known_of_what_is_in_vault_alone(spans: Spans) -> None:
    assert reader(spans, ENVIRON).newest(EnvRef("ACME"), until=1e12) is None
    assert reader(spans, ENVIRON).newest(VaultRef("adsyncd/acme"), until=1e12) is None  # the settings name none


async def test_a_line_break_that_is_cut_off_is_told_once_for_each_place(spans: Spans) -> None:
    environ = ENVIRON | {"ACME_PASSWORD": "canary\n", "B_EMAIL": "b\r\n", "B_PASSWORD": "canary"}
    with capture_logs() as logs:
        read = reader(spans, environ)
        for prefix in ("ACME", "ACME", "B"):
            await read.read(EnvRef(prefix))
    told = [(entry["log_level"], entry["place"]) for entry in logs]
    assert told == [("warning", "ACME_EMAIL, ACME_PASSWORD"), ("warning", "B_EMAIL, B_PASSWORD")]
    assert "canary" not in str(logs)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, None),  # the daemon's own environment may have them
        (ENVIRON, None),
        (ENVIRON | {"ACME_PASSWORD": ""}, "set ACME_PASSWORD"),
        (ENVIRON | {"ACME_PASSWORD": "canary\n"}, "end in a line break"),
        (ENVIRON | {"ACME_PASSWORD": "\udce4"}, "ACME_PASSWORD is not UTF-8 text"),
    ],
)
def test_what_can_be_said_of_credentials_without_asking_anybody(environ: dict[str, str], words: str | None) -> None:
    said = remark(EnvRef("ACME"), environ)
    assert (words in said) if words and said else (said is words)
    assert remark(VaultRef("acme"), environ) is None


def test_what_can_be_said_of_a_credential_of_systemd_s(tmp_path: Path) -> None:
    assert remark(SystemdRef("acme"), {}) is None
    assert "can't be read" in str(remark(SystemdRef("acme"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}))


async def test_named_secrets_are_told_of_by_their_variables() -> None:
    ref = EnvRef("META", ("access_token",), basic=(), in_headers=("access_token",))
    environ = {"META_ACCESS_TOKEN": "canary\n"}
    assert remark(ref, {"META_EMAIL": "x"}) is None
    assert "end in a line break" in str(remark(ref, environ))
    with capture_logs() as logs:
        await reader(Spans(), environ).read(ref)
    assert [entry["place"] for entry in logs] == ["META_ACCESS_TOKEN"]
    assert "does not fit a header field" in str(remark(ref, {"META_ACCESS_TOKEN": "canary\x07"}))
