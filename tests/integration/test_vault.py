"""Credentials from a real OpenBao: what it grants, all the ways in which it does not, and that nothing of it leaks."""

import logging
import os
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from pydantic import SecretStr

from adsyncd.credentials import (
    AppRole,
    Credentials,
    InFile,
    Vault,
    VaultAccess,
    VaultToken,
    resolve_secret,
)
from adsyncd.credentials.identity import Lease
from adsyncd.demo.openbao import OpenBao, Role, Tls
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.tenant import VaultRef
from support.clock import SetClock
from support.vault import by_role, by_token, opened, private_tls, real_openbao

ACME = {"email": "ads@acme.example", "password": "canary-password"}
CREDENTIALS = Credentials(ACME["email"], SecretStr(ACME["password"]))


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[OpenBao]:
    async with real_openbao() as server:
        await server.put_secret("adsyncd/acme", ACME)
        yield server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return private_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
async def tls_server(tls: Tls) -> AsyncIterator[OpenBao]:
    async with real_openbao(tls=tls) as server:
        await server.put_secret("adsyncd/acme", ACME)
        yield server


@pytest.fixture
async def role(server: OpenBao) -> Role:
    return await server.put_role("adsyncd", "adsyncd/*", token_ttl="3600s")


@pytest.fixture
async def vault(server: OpenBao, role: Role) -> AsyncIterator[Vault]:
    async with opened(by_role(server, role)) as vault:
        yield vault


async def read_again(vault: Vault) -> Credentials:
    """Read as soon as the wait is over that a failure has caused."""
    with anyio.fail_after(30):
        while True:
            with suppress(CredentialsError):
                return await vault.read(VaultRef("adsyncd/acme"))
            await anyio.sleep(0.02)


async def read(access: VaultAccess, path: str = "adsyncd/acme") -> Credentials:
    async with opened(access) as vault:
        return await vault.read(VaultRef(path))


async def issue_token(server: OpenBao, **settings: object) -> SecretStr:
    answer = await server.ask("POST", "auth/token/create", {"policies": ["adsyncd"], **settings})
    return SecretStr(answer["auth"]["client_token"])


def lease_of(vault: Vault) -> Lease:
    lease = vault._daemon._lease
    assert lease is not None
    return lease


def token_of(vault: Vault) -> str:
    return lease_of(vault).token.get_secret_value()


async def revoke(server: OpenBao, vault: Vault) -> None:
    await server.ask("POST", "auth/token/revoke", {"token": token_of(vault)})


@asynccontextmanager
async def frozen(server: OpenBao) -> AsyncIterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@asynccontextmanager
async def serving(serve: Callable[[anyio.abc.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Let `serve` answer each connection in place of Vault, and yield the address."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


class TestSignIn:
    async def test_an_approle_reads_what_its_policy_allows(self, server: OpenBao, role: Role) -> None:
        assert await read(by_role(server, role)) == CREDENTIALS

    @pytest.mark.usefixtures("role")
    async def test_a_token_reads_what_its_policy_allows(self, server: OpenBao) -> None:
        assert await read(by_token(server, await issue_token(server))) == CREDENTIALS

    async def test_a_token_without_an_end_works_too(self, server: OpenBao) -> None:
        assert await read(by_token(server)) == CREDENTIALS

    async def test_a_wrong_secret_id_is_told_with_its_mend(self, server: OpenBao, role: Role) -> None:
        wrong = replace(role, secret_id=SecretStr("wrong"))
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's AppRole.*issue a new secret id"):
            await read(by_role(server, wrong))

    async def test_a_wrong_token_is_told_with_its_mend(self, server: OpenBao) -> None:
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's token.*issue a new one"):
            await read(by_token(server, SecretStr("wrong")))

    async def test_fifty_reads_at_once_sign_in_once(self, server: OpenBao, vault: Vault) -> None:
        async def accessors() -> set[str]:
            return set((await server.ask("LIST", "auth/token/accessors"))["data"]["keys"])

        before = await accessors()
        got: list[Credentials] = []

        async def take() -> None:
            got.append(await vault.read(VaultRef("adsyncd/acme")))

        async with anyio.create_task_group() as readers:
            for _ in range(50):
                readers.start_soon(take)
        assert got == [CREDENTIALS] * 50
        assert len(await accessors() - before) == 1

    async def test_a_sign_in_that_fails_leaves_those_signed_in_alone(self, server: OpenBao, role: Role) -> None:
        secret_ids = [role.secret_id]
        access = replace(by_role(server, role), auth=AppRole(role.role_id, lambda: secret_ids[0]))
        clock = SetClock()
        async with opened(access, clock) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            secret_ids[0] = SecretStr("wrong")
            clock.elapsed_s = 60.0
            with pytest.raises(CredentialsMissing, match="AppRole"):
                await vault.read(VaultRef("not/allowed"))  # for which it asks with a new token
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS


class TestTokenLife:
    async def test_past_two_thirds_of_its_lease_a_token_is_renewed(self, server: OpenBao, role: Role) -> None:
        clock = SetClock()
        async with opened(by_role(server, role), clock) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            token = token_of(vault)
            clock.elapsed_s = 2399.0
            await vault.read(VaultRef("adsyncd/acme"))
            renewed = await server.ask("POST", "auth/token/lookup", {"token": token})
            assert "last_renewal" not in renewed["data"]
            clock.elapsed_s = 2401.0
            await vault.read(VaultRef("adsyncd/acme"))
            renewed = await server.ask("POST", "auth/token/lookup", {"token": token})
            assert "last_renewal" in renewed["data"]
            assert token_of(vault) == token
            assert lease_of(vault).granted_s == 2401.0

    async def test_where_a_renewal_is_short_of_the_lease_it_signs_in_again(self, server: OpenBao, role: Role) -> None:
        clock = SetClock()
        async with opened(by_role(server, role), clock) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            token = token_of(vault)
            vault._daemon._lease = replace(
                lease_of(vault), duration_s=4000.0
            )  # as if 3,600 s were what is left of a longer life
            clock.elapsed_s = 2700.0
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS
            assert token_of(vault) != token
            assert lease_of(vault).duration_s == 3600.0

    async def test_a_token_that_can_not_be_renewed_is_replaced_in_time(self, server: OpenBao) -> None:
        clock = SetClock()
        batch = await server.put_role("batch", "adsyncd/*", token_type="batch", token_ttl="3600s")
        async with opened(by_role(server, batch), clock) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            token = token_of(vault)
            clock.elapsed_s = 2400.0
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS
            assert token_of(vault) != token

    async def test_a_token_that_expired_unnoticed_is_replaced(self, server: OpenBao) -> None:
        brief = await server.put_role("brief", "adsyncd/*", token_ttl="1s")
        async with opened(by_role(server, brief), SetClock()) as vault:  # whose time stands still
            await vault.read(VaultRef("adsyncd/acme"))
            token = token_of(vault)
            with anyio.fail_after(30), suppress(httpx.HTTPStatusError):
                while await server.ask("POST", "auth/token/lookup", {"token": token}):
                    pass
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS
            assert token_of(vault) != token

    @pytest.mark.usefixtures("role")
    async def test_a_revoked_token_from_a_file_is_told_until_the_file_has_a_new_one(
        self, server: OpenBao, tmp_path: Path
    ) -> None:
        file = InFile(tmp_path / "token")
        file.path.write_text((await issue_token(server)).get_secret_value())
        access = replace(by_token(server), auth=VaultToken(lambda: resolve_secret(file, {})))
        async with opened(access) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            await revoke(server, vault)
            with pytest.raises(CredentialsMissing, match="expired, revoked"):
                await vault.read(VaultRef("adsyncd/acme"))
            file.path.write_text((await issue_token(server)).get_secret_value())
            assert await read_again(vault) == CREDENTIALS

    async def test_a_rotated_secret_id_is_used_without_a_restart(
        self, server: OpenBao, role: Role, tmp_path: Path
    ) -> None:
        file = InFile(tmp_path / "secret-id")
        file.path.write_text(role.secret_id.get_secret_value())
        access = replace(by_role(server, role), auth=AppRole(role.role_id, lambda: resolve_secret(file, {})))
        async with opened(access) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            old = {"secret_id": role.secret_id.get_secret_value()}
            await server.ask("POST", "auth/approle/role/adsyncd/secret-id/destroy", old)
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS
            await revoke(server, vault)
            with pytest.raises(CredentialsMissing, match="secret id is wrong, used up or expired"):
                await vault.read(VaultRef("adsyncd/acme"))
            file.path.write_text((await server.new_secret_id("adsyncd")).get_secret_value())
            assert await read_again(vault) == CREDENTIALS


class TestRefusals:
    async def test_a_path_where_nothing_is_is_named(self, vault: Vault) -> None:
        with pytest.raises(CredentialsMissing, match="nothing at secret/adsyncd/nobody; write email and password"):
            await vault.read(VaultRef("adsyncd/nobody"))

    async def test_a_deleted_version_is_named(self, server: OpenBao, vault: Vault) -> None:
        await server.put_secret("adsyncd/gone", ACME)
        await server.put_secret("adsyncd/gone", ACME)
        await server.ask("DELETE", "secret/data/adsyncd/gone")
        with pytest.raises(CredentialsMissing, match="version 2 of secret/adsyncd/gone is deleted"):
            await vault.read(VaultRef("adsyncd/gone"))

    async def test_a_destroyed_version_is_named(self, server: OpenBao, vault: Vault) -> None:
        await server.put_secret("adsyncd/lost", ACME)
        await server.ask("PUT", "secret/destroy/adsyncd/lost", {"versions": [1]})
        with pytest.raises(CredentialsMissing, match="version 1 of secret/adsyncd/lost is deleted"):
            await vault.read(VaultRef("adsyncd/lost"))

    async def test_a_secret_without_the_keys_is_named_without_its_content(self, server: OpenBao, vault: Vault) -> None:
        await server.put_secret("adsyncd/odd", {"user": "canary", "password": "canary"})
        with pytest.raises(CredentialsMissing, match=r"secret/adsyncd/odd in .* needs the keys email") as caught:
            await vault.read(VaultRef("adsyncd/odd"))
        assert "canary" not in str(caught.value)

    async def test_a_path_that_the_policy_denies_is_named_and_harms_no_other(self, vault: Vault) -> None:
        with pytest.raises(CredentialsMissing, match=r"not let the daemon read .* read on secret/data/other/acme"):
            await vault.read(VaultRef("other/acme"))
        assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS

    async def test_no_path_leads_to_a_neighbours_secret(self, vault: Vault) -> None:
        with pytest.raises(CredentialsMissing, match="can't be a path"):
            await vault.read(VaultRef("adsyncd/globex/../acme"))

    async def test_a_wrong_mount_is_told_to_be_checked(self, server: OpenBao, role: Role) -> None:
        for access in (by_role(server, role), by_token(server)):  # denied, and not there
            with pytest.raises(CredentialsMissing, match=r"wrong/adsyncd/acme.*check the path and.*vault\.mount"):
                await read(replace(access, mount="wrong"))

    async def test_a_namespace_has_its_own_secrets_and_a_wrong_one_is_told(self, server: OpenBao) -> None:
        await server.ask("POST", "sys/namespaces/team")
        engine = {"type": "kv", "options": {"version": "2"}}
        await server.ask("POST", "sys/mounts/secret", engine, namespace="team")
        theirs = {"email": "ads@team.example", "password": "pw"}
        await server.ask("POST", "secret/data/adsyncd/acme", {"data": theirs}, namespace="team")
        assert (await read(replace(by_token(server), namespace="team"))).email == "ads@team.example"
        with pytest.raises(CredentialsMissing, match=r"no such namespace.*check vault\.namespace"):
            await read(replace(by_token(server), namespace="nobody"))

    async def test_where_approle_is_not_enabled_the_error_says_so(self, server: OpenBao, role: Role) -> None:
        await server.ask("POST", "sys/namespaces/bare")
        with pytest.raises(CredentialsMissing, match="no sign-in by AppRole; enable it"):
            await read(replace(by_role(server, role), namespace="bare"))


class TestOutages:
    @pytest.mark.parametrize("signed_in", [True, False])
    async def test_a_sealed_vault_is_told_and_read_again_once_unsealed(
        self, server: OpenBao, vault: Vault, signed_in: bool
    ) -> None:
        if signed_in:
            await vault.read(VaultRef("adsyncd/acme"))
        await server.seal()
        try:
            with pytest.raises(CredentialsUnavailable, match="is sealed"):
                await vault.read(VaultRef("adsyncd/acme"))
        finally:
            await server.unseal()
        assert await read_again(vault) == CREDENTIALS

    async def test_a_vault_that_comes_back_without_its_tokens_is_signed_in_to_again(self, tmp_path: Path) -> None:
        secret_id = InFile(tmp_path / "secret-id")

        async def prepare(server: OpenBao) -> None:
            await server.put_secret("adsyncd/acme", ACME)
            role = await server.put_role("adsyncd", "adsyncd/*")
            await server.ask("POST", "auth/approle/role/adsyncd/role-id", {"role_id": "fixed"})
            secret_id.path.write_text(role.secret_id.get_secret_value())

        async with AsyncExitStack() as stack:
            async with real_openbao() as server:
                await prepare(server)
                access = replace(by_token(server), auth=AppRole("fixed", lambda: resolve_secret(secret_id, {})))
                vault = await stack.enter_async_context(opened(access))
                await vault.read(VaultRef("adsyncd/acme"))
            with pytest.raises(CredentialsUnavailable, match="can't be reached"):
                await vault.read(VaultRef("adsyncd/acme"))
            async with real_openbao(port=httpx.URL(server.address).port) as server:
                await prepare(server)
                assert await read_again(vault) == CREDENTIALS

    @pytest.mark.parametrize("signed_in", [True, False])
    async def test_a_frozen_vault_costs_the_timeout_and_is_read_again_once_thawed(
        self, server: OpenBao, role: Role, signed_in: bool
    ) -> None:
        access = replace(by_role(server, role), timeout=timedelta(seconds=0.5))
        async with opened(access) as vault:
            if signed_in:
                await vault.read(VaultRef("adsyncd/acme"))
            async with frozen(server):
                with pytest.raises(CredentialsUnavailable, match="did not answer in time"):
                    await vault.read(VaultRef("adsyncd/acme"))
            assert await read_again(vault) == CREDENTIALS

    async def test_an_answer_that_drips_is_cut_off_by_the_timeout(self, server: OpenBao) -> None:
        async def drip(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.receive()
                with suppress(anyio.BrokenResourceError):
                    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
                    for _ in range(99):
                        await stream.send(b" ")
                        await anyio.sleep(0.02)

        async with serving(drip) as address:
            access = replace(by_token(server), address=address, timeout=timedelta(seconds=0.2))
            with pytest.raises(CredentialsUnavailable, match="did not answer in time"):
                await read(access)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "redirects are not followed"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "does not answer as Vault does"),
            (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"data":{', "does not answer as Vault does"),
            (b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"data":{}}', "does not answer as Vault does"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "can't be reached"),
            (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "failed; see its log"),
            (b"", "can't be reached"),
        ],
    )
    async def test_what_is_not_vault_is_told_and_the_token_follows_no_redirect(
        self, server: OpenBao, answer: bytes, words: str
    ) -> None:
        received = []

        async def serve(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                received.append(await stream.receive())
                await stream.send(answer)

        async with serving(serve) as address:
            with pytest.raises(CredentialsUnavailable, match=words):
                await read(replace(by_token(server), address=address))
        assert len(received) == 1


class TestTls:
    async def test_a_private_ca_is_trusted_where_the_settings_name_it(self, tls_server: OpenBao, tls: Tls) -> None:
        assert await read(replace(by_token(tls_server), ca_file=tls.ca)) == CREDENTIALS

    async def test_a_ca_that_is_not_named_or_another_one_is_not_trusted(
        self, tls_server: OpenBao, tmp_path: Path
    ) -> None:
        for ca in (None, private_tls(tmp_path).ca):
            with pytest.raises(CredentialsUnavailable, match=r"no certificate that can be trusted; set vault\.ca_file"):
                await read(replace(by_token(tls_server), ca_file=ca))

    async def test_neither_the_environments_ca_nor_its_token_stands_in(
        self, tls_server: OpenBao, tls: Tls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
            monkeypatch.setenv(name, str(tls.ca))
        monkeypatch.setenv("VAULT_TOKEN", tls_server.root_token.get_secret_value())
        with pytest.raises(CredentialsUnavailable, match="no certificate that can be trusted"):
            await read(by_token(tls_server))
        with pytest.raises(CredentialsMissing, match="refuses the daemon's token"):
            await read(replace(by_token(tls_server, SecretStr("wrong")), ca_file=tls.ca))

    async def test_a_ca_file_that_is_not_there_or_no_pem_is_told(self, tls_server: OpenBao, tmp_path: Path) -> None:
        with pytest.raises(CredentialsMissing, match=r"check that vault\.ca_file is there"):
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
