"""Credentials from a real OpenBao: what it grants and refuses, TLS, and that no secret leaks."""

import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from adsyncd.credentials.vault import AppRole, Vault
from adsyncd.demo.openbao import OpenBao, Role, Tls
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.tenant import VaultRef
from support.vault import (
    ACME,
    CREDENTIALS,
    by_role,
    by_token,
    issue_token,
    opened,
    private_tls,
    read,
    real_openbao,
    token_of,
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return private_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
async def tls_server(tls: Tls) -> AsyncIterator[OpenBao]:
    async with real_openbao(tls=tls) as server:
        await server.put_secret("adsyncd/acme", ACME)
        yield server


class TestRefusals:
    async def test_a_path_where_nothing_is_is_named(self, vault: Vault) -> None:
        with pytest.raises(CredentialsMissing, match="nothing at secret/adsyncd/nobody; write email and password"):
            await vault.read(VaultRef("adsyncd/nobody"))

    async def test_a_secret_without_the_keys_is_named_without_its_content(self, server: OpenBao, vault: Vault) -> None:
        await server.put_secret("adsyncd/odd", {"user": "canary", "password": "canary"})
        with pytest.raises(CredentialsMissing, match=r"secret/adsyncd/odd in .* needs the keys email") as caught:
            await vault.read(VaultRef("adsyncd/odd"))
        assert "canary" not in str(caught.value)

    async def test_named_secrets_are_read_and_a_missing_one_is_named(self, server: OpenBao, vault: Vault) -> None:
        names = ("client_id", "client_secret", "refresh_token")
        ref = VaultRef("adsyncd/google", keys=names, basic=())
        with pytest.raises(CredentialsMissing, match="write client_id, client_secret and refresh_token there"):
            await vault.read(ref)
        await server.put_secret("adsyncd/google", {"client_id": "canary", "client_secret": "two\nlines"})
        with pytest.raises(
            CredentialsMissing, match="refresh_token is missing; it needs the keys client_id, "
        ) as caught:
            await vault.read(ref)
        assert "canary" not in str(caught.value)
        await server.put_secret("adsyncd/google", {name: f"canary {name}" for name in names})
        credentials = await vault.read(ref)
        assert [credentials.secret(name).get_secret_value() for name in names] == [f"canary {name}" for name in names]
        assert "canary" not in repr(credentials)
        one = await vault.read(VaultRef("adsyncd/google", keys=("client_id",), basic=(), in_headers=("client_id",)))
        assert (set(one.secrets), one.version) == ({"client_id"}, credentials.version)

    async def test_a_path_that_the_policy_denies_is_named_and_harms_no_other(self, vault: Vault) -> None:
        with pytest.raises(CredentialsMissing, match=r"not let the daemon read .* read on secret/data/other/acme"):
            await vault.read(VaultRef("other/acme"))
        assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS

    async def test_a_wrong_mount_is_told_to_be_checked(self, server: OpenBao, role: Role) -> None:
        for access in (by_role(server, role), by_token(server)):  # denied, and not there
            with pytest.raises(CredentialsMissing, match=r"wrong/adsyncd/acme.*check the path and.*vault\.mount"):
                await read(replace(access, mount="wrong"))

    async def test_a_namespace_has_its_own_secrets_and_a_wrong_one_is_told(self, server: OpenBao) -> None:
        await server.ask("POST", "sys/namespaces/team")
        await server.mount_kv(namespace="team")
        theirs = {"email": "ads@team.example", "password": "pw"}
        await server.ask("POST", "secret/data/adsyncd/acme", {"data": theirs}, namespace="team")
        team = await read(replace(by_token(server), namespace="team"))
        assert team.secret("email").get_secret_value() == "ads@team.example"
        with pytest.raises(CredentialsMissing, match=r"no such namespace.*check vault\.namespace"):
            await read(replace(by_token(server), namespace="nobody"))

    async def test_an_engine_that_upgrades_its_data_serves_soon(self, server: OpenBao) -> None:
        await server.ask("POST", "sys/mounts/old", {"type": "kv"})
        for number in range(300):  # enough for the upgrade to last longer than a request
            await server.ask("POST", f"old/tenant-{number}", ACME)
        await server.ask("POST", "sys/mounts/old/tune", {"options": {"version": "2"}})
        await server.serving("old")
        assert await read(replace(by_token(server), mount="old"), "tenant-7") == CREDENTIALS

    async def test_where_approle_is_not_enabled_the_error_says_so(self, server: OpenBao, role: Role) -> None:
        await server.ask("POST", "sys/namespaces/bare")
        with pytest.raises(CredentialsMissing, match="no sign-in by AppRole; enable it"):
            await read(replace(by_role(server, role), namespace="bare"))

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [("DELETE", "secret/data/adsyncd/gone", None), ("PUT", "secret/destroy/adsyncd/gone", {"versions": [2]})],
        ids=["deleted", "destroyed"],
    )
    async def test_a_deleted_or_destroyed_version_is_named(
        self, server: OpenBao, vault: Vault, method: str, path: str, body: dict[str, object] | None
    ) -> None:
        await server.ask("DELETE", "secret/metadata/adsyncd/gone")
        await server.put_secret("adsyncd/gone", ACME)
        await server.put_secret("adsyncd/gone", ACME)
        await server.ask(method, path, body)
        with pytest.raises(CredentialsMissing, match="version 2 of secret/adsyncd/gone is deleted"):
            await vault.read(VaultRef("adsyncd/gone"))


class TestTls:
    async def test_a_private_ca_is_trusted_where_the_settings_name_it(self, tls_server: OpenBao, tls: Tls) -> None:
        assert await read(replace(by_token(tls_server), ca_file=tls.ca)) == CREDENTIALS

    async def test_a_ca_that_is_not_named_or_another_one_is_not_trusted(
        self, tls_server: OpenBao, tmp_path: Path
    ) -> None:
        for ca in (None, private_tls(tmp_path).ca):
            with pytest.raises(CredentialsUnavailable, match=r"untrusted certificate; set vault\.ca_file"):
                await read(replace(by_token(tls_server), ca_file=ca))

    async def test_neither_the_environments_ca_nor_its_token_stands_in(
        self, tls_server: OpenBao, tls: Tls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
            monkeypatch.setenv(name, str(tls.ca))
        monkeypatch.setenv("VAULT_TOKEN", tls_server.root_token.get_secret_value())
        with pytest.raises(CredentialsUnavailable, match="untrusted certificate"):
            await read(by_token(tls_server))
        with pytest.raises(CredentialsMissing, match="refuses the daemon's token"):
            await read(replace(by_token(tls_server, SecretStr("wrong")), ca_file=tls.ca))

    async def test_a_ca_file_that_is_not_there_or_no_pem_is_told(self, tls_server: OpenBao, tmp_path: Path) -> None:
        with pytest.raises(CredentialsMissing, match=r"check that vault\.ca_file exists"):
            await read(replace(by_token(tls_server), ca_file=tmp_path / "none.pem"))
        (tmp_path / "odd.pem").write_text("not PEM")
        with pytest.raises(CredentialsError, match=r"vault\.ca_file"):
            await read(replace(by_token(tls_server), ca_file=tmp_path / "odd.pem"))


async def test_no_secret_shows_in_logs_at_debug_nor_in_any_traceback(
    server: OpenBao, role: Role, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "odd.pem").write_text("not PEM")
    await server.put_secret("adsyncd/odd", {"password": ACME["password"]})
    token = await issue_token(server)
    secrets = [ACME["email"], ACME["password"], *(secret.get_secret_value() for secret in (token, role.secret_id))]
    good, told = by_role(server, role), ""
    async with opened(good) as vault:
        for path in ("adsyncd/acme", "adsyncd/none", "adsyncd/odd", "other/acme"):
            try:
                told += repr(await vault.read(VaultRef(path)))
            except CredentialsError as exc:
                told += "".join(traceback.format_exception(exc))
            secrets.append(token_of(vault))
    for access in (
        by_token(server, token),
        replace(good, address="http://127.0.0.1:1"),
        replace(good, address=server.address.replace("http:", "https:")),
        replace(good, ca_file=tmp_path / "odd.pem", address="https://127.0.0.1:1"),
        replace(good, namespace="nobody"),
        replace(by_token(server, token), mount="wrong"),
        replace(good, auth=AppRole("wrong", lambda: role.secret_id)),
        replace(good, timeout=timedelta(microseconds=1)),
    ):
        try:
            told += repr(access) + repr(await read(access))
        except CredentialsError as exc:
            told += "".join(traceback.format_exception(exc))
    assert told.count("The above exception was the direct cause") >= 8
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert not [secret for secret in secrets if secret in told + caplog.text]
