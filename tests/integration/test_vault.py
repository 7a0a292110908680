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
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from adsyncd.credentials import (
    AppRole,
    Credentials,
    Vault,
    VaultAccess,
    VaultToken,
    resolve_secret,
)
from adsyncd.credentials.identity import TokenLease
from adsyncd.demo.openbao import OpenBao, Role, Tls
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.tenant import InFile, VaultRef
from support import web
from support.clock import SetClock
from support.vault import (
    by_role,
    by_token,
    documented_policy,
    opened,
    private_tls,
    real_openbao,
    wrapped,
    wrapped_secret_id,
)

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


def lease_of(vault: Vault) -> TokenLease:
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

    async def test_a_wrong_secret_id_is_told_with_its_fix(self, server: OpenBao, role: Role) -> None:
        wrong = replace(role, secret_id=SecretStr("wrong"))
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's AppRole.*issue a new secret id"):
            await read(by_role(server, wrong))

    async def test_a_wrong_token_is_told_with_its_fix(self, server: OpenBao) -> None:
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's token.*issue a new one"):
            await read(by_token(server, SecretStr("wrong")))

    async def test_a_thousand_reads_at_once_sign_in_once(self, server: OpenBao, vault: Vault) -> None:
        async def accessors() -> set[str]:
            return set((await server.ask("LIST", "auth/token/accessors"))["data"]["keys"])

        before = await accessors()
        got: list[Credentials] = []

        async def take() -> None:
            got.append(await vault.read(VaultRef("adsyncd/acme")))

        async with anyio.create_task_group() as readers:
            for _ in range(1000):
                readers.start_soon(take)
        assert got == [CREDENTIALS] * 1000
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


class TestAnIdentityForEachTenant:
    @pytest.fixture
    async def broker(self, server: OpenBao) -> VaultAccess:
        """A daemon and the tenants acme and globex, as the docs set them up."""
        policies = {"adsyncd-broker": documented_policy("adsyncd-broker")}
        policies["adsyncd-broker"] += policies["adsyncd-broker"].replace("acme", "globex")
        for tenant in ("acme", "globex"):
            policies[f"adsyncd-{tenant}"] = documented_policy("adsyncd-acme").replace("acme", tenant)
        for name, policy in policies.items():
            await server.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
            once = {"secret_id_ttl": "1m", "secret_id_num_uses": 1} if name != "adsyncd-broker" else {}
            await server.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "1h", **once})
        await server.put_secret("adsyncd/globex", {"email": "ads@globex.example", "password": "pw"})
        role_id = await server.ask("GET", "auth/approle/role/adsyncd-broker/role-id")
        return by_role(server, Role(role_id["data"]["role_id"], await server.new_secret_id("adsyncd-broker")))

    async def test_each_role_reads_and_follows_its_tenant_s_secret(self, broker: VaultAccess) -> None:
        async with opened(broker) as vault:
            assert await vault.read(VaultRef("adsyncd/acme", "adsyncd-acme")) == CREDENTIALS
            assert (await vault.read(VaultRef("adsyncd/globex", "adsyncd-globex"))).email == "ads@globex.example"
            acme = VaultRef("adsyncd/acme", "adsyncd-acme")
            assert await vault._ask_as(acme, vault._api.version) == (await vault.read(acme)).version

    @pytest.mark.parametrize("role", ["adsyncd-acme", None])
    async def test_neither_a_neighbour_s_role_nor_the_daemon_reads_a_tenant_s_secret(
        self, broker: VaultAccess, role: str | None
    ) -> None:
        async with opened(broker) as vault:
            with pytest.raises(CredentialsMissing, match=r"does not let .* read secret/adsyncd/globex") as caught:
                await vault.read(VaultRef("adsyncd/globex", role))
            assert caught.value.state == "permission denied"
            assert ("the AppRole adsyncd-acme" if role else "the daemon") in str(caught.value)
            assert (await vault.read(VaultRef("adsyncd/globex", "adsyncd-globex"))).email == "ads@globex.example"

    async def test_no_tenant_s_token_opens_another_s_secret_whoever_has_it(
        self, server: OpenBao, broker: VaultAccess
    ) -> None:
        async with opened(broker) as vault:
            await vault.read(VaultRef("adsyncd/acme", "adsyncd-acme"))
            acme = vault._roles["adsyncd-acme"]._lease
            daemon = lease_of(vault)
        assert acme is not None
        async with httpx.AsyncClient(base_url=f"{server.address}/v1/secret/data/adsyncd/", trust_env=False) as http:
            statuses = {
                (whose, path): (
                    await http.get(path, headers={"X-Vault-Token": lease.token.get_secret_value()})
                ).status_code
                for whose, lease in (("acme", acme), ("daemon", daemon))
                for path in ("acme", "globex")
            }
        assert statuses == {
            ("acme", "acme"): 200,
            ("acme", "globex"): 403,
            ("daemon", "acme"): 403,
            ("daemon", "globex"): 403,
        }

    async def test_a_role_that_the_daemon_may_not_take_or_that_is_not_there_is_told(
        self, server: OpenBao, broker: VaultAccess
    ) -> None:
        await server.put_role("stranger", "adsyncd/*")
        async with opened(broker) as vault:
            with pytest.raises(
                CredentialsMissing, match=r"not let the daemon sign in as stranger.*role/stranger/role-id"
            ):
                await vault.read(VaultRef("adsyncd/acme", "stranger"))
        with pytest.raises(CredentialsMissing, match=r"no AppRole nobody; create it") as caught:
            async with opened(by_token(server)) as vault:
                await vault.read(VaultRef("adsyncd/acme", "nobody"))
        assert caught.value.state == "role missing"

    async def test_a_dead_token_of_a_role_or_of_the_daemon_is_replaced(
        self, server: OpenBao, broker: VaultAccess
    ) -> None:
        acme = VaultRef("adsyncd/acme", "adsyncd-acme")
        async with opened(broker) as vault:
            await vault.read(acme)
            lease = vault._roles["adsyncd-acme"]._lease
            assert lease is not None
            for token in (lease.token.get_secret_value(), token_of(vault)):
                await server.ask("POST", "auth/token/revoke", {"token": token})
            assert await vault.read(acme) == CREDENTIALS

    async def test_the_one_identity_of_the_docs_reads_and_follows_all_tenants(self, server: OpenBao) -> None:
        await server.ask("PUT", "sys/policies/acl/simple", {"policy": documented_policy("adsyncd")})
        await server.ask("POST", "auth/approle/role/simple", {"token_policies": ["simple"]})
        role_id = await server.ask("GET", "auth/approle/role/simple/role-id")
        role = Role(role_id["data"]["role_id"], await server.new_secret_id("simple"))
        async with opened(by_role(server, role)) as vault:
            version = (await vault.read(VaultRef("adsyncd/acme"))).version
            assert await vault._ask_as(VaultRef("adsyncd/acme"), vault._api.version) == version


class TestWrappedSecretId:
    def access(self, server: OpenBao, role: Role, delivered: list[SecretStr]) -> VaultAccess:
        """A daemon whose place for the wrapping token holds the last of `delivered`."""
        return replace(by_role(server, role), auth=AppRole(role.role_id, lambda: delivered[-1], wrapped=True))

    async def test_it_is_unwrapped_once_and_serves_for_every_sign_in(self, server: OpenBao, role: Role) -> None:
        delivered = [await wrapped_secret_id(server, "adsyncd")]
        async with opened(self.access(server, role, delivered)) as vault:
            for _ in range(2):
                assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS
                await revoke(server, vault)

    async def test_a_new_one_is_unwrapped_when_the_old_secret_id_is_refused(self, server: OpenBao) -> None:
        brief = await server.put_role("once", "adsyncd/*", secret_id_num_uses=1)
        delivered = [await wrapped_secret_id(server, "once")]
        async with opened(self.access(server, brief, delivered)) as vault:
            await vault.read(VaultRef("adsyncd/acme"))
            await revoke(server, vault)
            with pytest.raises(CredentialsMissing, match="used up"):
                await vault.read(VaultRef("adsyncd/acme"))
            delivered.append(await wrapped_secret_id(server, "once"))
            assert await read_again(vault) == CREDENTIALS

    async def test_one_that_somebody_else_unwrapped_is_an_alarm(self, server: OpenBao, role: Role) -> None:
        delivered = [await wrapped_secret_id(server, "adsyncd")]
        async with httpx.AsyncClient(base_url=f"{server.address}/v1/", trust_env=False) as thief:
            token = {"X-Vault-Token": delivered[0].get_secret_value()}
            (await thief.post("sys/wrapping/unwrap", headers=token)).raise_for_status()
        async with opened(self.access(server, role, delivered)) as vault:
            with pytest.raises(CredentialsMissing, match="was used before, or has expired") as caught:
                await vault.read(VaultRef("adsyncd/acme"))
            assert caught.value.state == vault.status.state == "already unwrapped"
            delivered.append(await wrapped_secret_id(server, "adsyncd"))
            assert await read_again(vault) == CREDENTIALS

    async def test_one_that_was_made_elsewhere_is_an_alarm_and_stays_wrapped(self, server: OpenBao, role: Role) -> None:
        await server.put_secret("forged", {"secret_id": role.secret_id.get_secret_value()})
        forged = await wrapped(server, "GET", "secret/data/forged")
        async with opened(self.access(server, role, [forged])) as vault:
            with pytest.raises(CredentialsMissing, match="was not made at auth/approle/role/ROLE/secret-id") as caught:
                await vault.read(VaultRef("adsyncd/acme"))
            assert caught.value.state == "already unwrapped"
        await server.ask("POST", "sys/wrapping/lookup", {"token": forged.get_secret_value()})

    async def test_a_sealed_vault_does_not_use_it_up(self, server: OpenBao, role: Role) -> None:
        delivered = [await wrapped_secret_id(server, "adsyncd")]
        async with opened(self.access(server, role, delivered)) as vault:
            await server.seal()
            try:
                with pytest.raises(CredentialsUnavailable, match="sealed"):
                    await vault.read(VaultRef("adsyncd/acme"))
            finally:
                await server.unseal()
            assert await read_again(vault) == CREDENTIALS


@asynccontextmanager
async def living(access: VaultAccess) -> AsyncIterator[Vault]:
    """Let a Vault live, as the daemon does."""
    async with opened(access) as vault, anyio.create_task_group() as tasks:
        tasks.start_soon(vault.run)
        yield vault
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - another process's doing
            await anyio.sleep(0.02)


class TestLifeWithoutReads:
    async def test_the_token_is_renewed_and_at_the_end_of_its_longest_life_replaced(self, server: OpenBao) -> None:
        brief = await server.put_role("short", "adsyncd/*", token_ttl="1s", token_max_ttl="2s")
        async with living(by_role(server, brief)) as vault:
            await until(lambda: vault.status.state == "up")
            first = lease_of(vault)
            await until(lambda: lease_of(vault).granted_s > first.granted_s)
            assert lease_of(vault).token == first.token
            await until(lambda: lease_of(vault).token != first.token)
            assert vault.status.state == "up"
            assert await vault.read(VaultRef("adsyncd/acme")) == CREDENTIALS

    async def test_a_vault_that_is_sealed_at_the_start_is_signed_in_to_once_it_is_open(
        self, server: OpenBao, role: Role
    ) -> None:
        await server.seal()
        try:
            async with living(by_role(server, role)) as vault:
                await until(lambda: vault.status.state == "sealed")
                await server.unseal()
                await until(lambda: vault.status.state == "up")
                assert lease_of(vault)
        finally:
            await server.unseal()

    async def test_a_new_version_is_seen_and_read(self, server: OpenBao) -> None:
        await server.put_secret("adsyncd/rotated", ACME)
        ref = VaultRef("adsyncd/rotated")
        async with living(replace(by_token(server), poll=timedelta(milliseconds=50))) as vault:
            assert (await vault.read(ref)).version == 1
            vault.newest(ref, until=1e12)
            await server.put_secret("adsyncd/rotated", {**ACME, "password": "new"})
            await until(lambda: vault.newest(ref, 1e12) == 2)
            rotated = await vault.read(ref)
            assert (rotated.version, rotated.password.get_secret_value()) == (2, "new")

    async def test_where_the_policy_lacks_metadata_the_version_stays_unknown_and_reads_go_on(
        self, server: OpenBao
    ) -> None:
        role, ref = await server.put_role("blind", "adsyncd/*"), VaultRef("adsyncd/acme")
        policy = 'path "secret/data/adsyncd/*" { capabilities = ["read"] }'
        await server.ask("PUT", "sys/policies/acl/blind", {"policy": policy})
        with capture_logs() as logs:
            async with living(replace(by_role(server, role), poll=timedelta(milliseconds=50))) as vault:
                vault.newest(ref, until=1e12)
                await until(lambda: any(entry["event"].startswith("rotations go unnoticed") for entry in logs))
                assert await vault.read(ref) == CREDENTIALS
        assert "give its policy read on secret/metadata/adsyncd/acme" in str(logs)


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
    @pytest.mark.parametrize(("status", "state"), [(503, "sealed"), (500, "failing"), (429, "limited")])
    async def test_a_thousand_reads_of_a_vault_in_trouble_are_few_requests(
        self, server: OpenBao, vault: Vault, status: int, state: str
    ) -> None:
        asked = 0

        async def refuse(_: Request) -> Response:
            nonlocal asked
            asked += 1
            return Response(status_code=status)

        async def fail(of: Vault) -> None:
            with pytest.raises(CredentialsUnavailable) as caught:
                await of.read(VaultRef("adsyncd/acme"))
            assert caught.value.state == state

        await vault.read(VaultRef("adsyncd/acme"))
        routes = [Route("/{path:path}", refuse, methods=["GET", "POST"])]
        async with web.serving(Starlette(routes=routes)) as address, opened(by_token(server)) as signed_out:
            vault._api._place = signed_out._api._place = replace(vault._api._place, address=address)
            for of, most in ((vault, 10), (signed_out, 1)):
                asked = 0
                async with anyio.create_task_group() as readers:
                    for _ in range(1000):
                        readers.start_soon(fail, of)
                assert 1 <= asked <= most

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
