"""The daemon's sign-in to a real OpenBao, and the life of its token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from adsyncd.credentials import resolve_secret
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess, VaultToken
from adsyncd.demo.openbao import OpenBao, Role
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.model.tenant import InFile, VaultRef
from support.clock import SetClock
from support.vault import (
    ACME,
    CREDENTIALS,
    by_role,
    by_token,
    issue_token,
    lease_of,
    opened,
    read,
    read_again,
    revoke,
    token_of,
    wrapped,
    wrapped_secret_id,
)
from support.waiting import until


class TestSignIn:
    @pytest.mark.usefixtures("role")
    async def test_a_token_reads_what_its_policy_allows(self, server: OpenBao) -> None:
        assert await read(by_token(server, await issue_token(server))) == CREDENTIALS
        assert await read(by_token(server)) == CREDENTIALS  # root's token, which has no end

    async def test_a_wrong_secret_id_or_token_is_told_with_its_fix(self, server: OpenBao, role: Role) -> None:
        wrong = SecretStr("wrong")
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's AppRole.*issue a new secret id"):
            await read(by_role(server, replace(role, secret_id=wrong)))
        with pytest.raises(CredentialsMissing, match=r"refuses the daemon's token.*issue a new one"):
            await read(by_token(server, wrong))


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
            assert (rotated.version, rotated.secret("password").get_secret_value()) == (2, "new")

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
