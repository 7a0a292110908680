"""An identity of its own for each tenant, in a real OpenBao, with the policies of docs/vault.md."""

import httpx
import pytest

from adsyncd.credentials.vault import VaultAccess
from adsyncd.demo.openbao import OpenBao, Role
from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import VaultRef
from support.accounts import an_account
from support.vault import CREDENTIALS, by_role, by_token, documented_policy, lease_of, opened, token_of

GLOBEX = an_account("ads@globex.example", "pw")


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
            assert await vault.read(VaultRef("adsyncd/globex", "adsyncd-globex")) == GLOBEX
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
            assert await vault.read(VaultRef("adsyncd/globex", "adsyncd-globex")) == GLOBEX

    async def test_no_tenant_s_token_opens_another_s_secret(self, server: OpenBao, broker: VaultAccess) -> None:
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
