"""A real OpenBao that is sealed, frozen, restarted or replaced by something else."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.credentials import resolve_secret
from adsyncd.credentials.vault import AppRole, Vault
from adsyncd.demo.openbao import OpenBao, Role
from adsyncd.errors import CredentialsUnavailable
from adsyncd.model.tenant import InFile, VaultRef
from support import web
from support.clock import SetClock
from support.vault import ACME, CREDENTIALS, by_role, by_token, opened, read, read_again, real_openbao


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


class TestOutages:
    @pytest.mark.parametrize(("status", "state"), [(503, "sealed"), (500, "failing"), (429, "limited")])
    async def test_a_thousand_reads_of_a_vault_in_trouble_are_few_requests(
        self, server: OpenBao, status: int, state: str
    ) -> None:
        asked = 0
        access, clock = by_token(server), SetClock()  # which stands still: no wait after a failure ends meanwhile

        async def refuse(_: Request) -> Response:
            nonlocal asked
            asked += 1
            return Response(status_code=status)

        async def fail(of: Vault) -> None:
            with pytest.raises(CredentialsUnavailable) as caught:
                await of.read(VaultRef("adsyncd/acme"))
            assert caught.value.state == state

        routes = [Route("/{path:path}", refuse, methods=["GET", "POST"])]
        async with (
            web.serving(Starlette(routes=routes)) as address,
            opened(access, clock) as signed_in,
            opened(access, clock) as signed_out,
        ):
            await signed_in.read(VaultRef("adsyncd/acme"))
            signed_in._api._place = signed_out._api._place = replace(signed_in._api._place, address=address)
            for of, most in ((signed_in, 10), (signed_out, 1)):
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

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "redirects are not followed"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "does not answer as Vault does"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "can't be reached"),
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
