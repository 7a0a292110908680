"""Any response in the place of Vault's, even a hostile one, becomes a state of Vault within the timeout."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread
import pytest
import requests
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.clock import SystemClock
from adsyncd.credentials.identity import TokenLease
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess, VaultToken
from adsyncd.credentials.vault_api import Place, VaultApi
from adsyncd.credentials.vault_http import MOST_BYTES
from adsyncd.errors import CredentialsError, CredentialsUnavailable
from adsyncd.model.status import VaultState
from adsyncd.model.tenant import VaultRef
from support import web
from support.vault import opened
from support.waiting import until

TOKEN = SecretStr("canary-token")
GOOD = {
    "auth/approle/login": {"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True}},
    "auth/approle/role/acme/role-id": {"data": {"role_id": "r"}},
    "auth/approle/role/acme/secret-id": {"data": {"secret_id": "s"}},
    "auth/token/lookup-self": {"data": {"ttl": 3600, "renewable": True}},
    "auth/token/renew-self": {"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True}},
    "sys/wrapping/lookup": {"data": {"creation_path": "auth/approle/role/acme/secret-id"}},
    "sys/wrapping/unwrap": {"data": {"secret_id": "s"}},
    "secret/data/acme": {"data": {"data": {"email": "a@b.example", "password": "p"}, "metadata": {"version": 1}}},
    "secret/metadata/acme": {"data": {"current_version": 1}},
}
ASKED: dict[str, Callable[[VaultApi], object]] = {
    "auth/approle/login": lambda api: api.sign_in("r", SecretStr("s")),
    "auth/approle/role/acme/role-id": lambda api: api.sign_in_as(TOKEN, "acme"),
    "auth/approle/role/acme/secret-id": lambda api: api.sign_in_as(TOKEN, "acme"),
    "auth/token/lookup-self": lambda api: api.look_up(TOKEN),
    "auth/token/renew-self": lambda api: api.renew(TokenLease(TOKEN, 0.0, 60, renewable=True)),
    "sys/wrapping/lookup": lambda api: api.unwrap(TOKEN),
    "sys/wrapping/unwrap": lambda api: api.unwrap(TOKEN),
    "secret/data/acme": lambda api: api.secret(TOKEN, "the daemon", "acme"),
    "secret/metadata/acme": lambda api: api.version(TOKEN, "the daemon", "acme"),
}
DEEP = b'{"data":' + b"[" * 200_000
BODIES = [
    b"",
    b"<html>canary</html>",
    b"\xff\xfe",
    b'"canary"',
    b"[]",
    b"null",
    b"1e999",
    b"{}",
    b'{"errors": 5}',
    b'{"errors": [{}]}',
    b'{"errors": ["canary"], "data": null, "auth": []}',
    b'{"data": "canary", "auth": "canary"}',
    b'{"data": {"data": [], "metadata": [], "ttl": {}, "role_id": 5, "secret_id": [], "creation_path": null}}',
    b'{"data": {"ttl": "3600", "current_version": "one", "data": {}, "metadata": {"version": null}}}',
    b'{"auth": {"client_token": "t", "lease_duration": -1}, "data": {"ttl": -1}}',
    b'{"auth": {"client_token": "t", "lease_duration": true}, "data": {"ttl": 0.5}}',
    b'{"auth": {"client_token": "t", "lease_duration": NaN}, "data": {"ttl": NaN}}',
    b'{"auth": {"client_token": "t", "lease_duration": -60}, "data": {"ttl": Infinity}}',
    b'{"auth": {"client_token": "t", "lease_duration": 1e300}, "data": {"ttl": ' + b"9" * 5000 + b"}}",
    DEEP,
    b'{"data": {"' + b"a" * MOST_BYTES + b'": 1}}',
]


@dataclass
class Script:
    """Answers as a good Vault does, but at `place`."""

    place: str = ""
    status: int = 200
    body: bytes = b""

    async def answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path == self.place:
            return Response(self.body, self.status, media_type="application/json")
        return Response(json.dumps(GOOD[path]), media_type="application/json")


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
async def address(script: Script) -> AsyncIterator[str]:
    routes = [Route("/v1/{path:path}", script.answer, methods=["GET", "POST", "PUT"])]
    async with web.serving(Starlette(routes=routes)) as address:
        yield address


def access(address: str, auth: AppRole | VaultToken, timeout_s: float = 10.0) -> VaultAccess:
    poll = timedelta(seconds=60)
    return VaultAccess(address, "secret", None, None, timedelta(seconds=timeout_s), poll, auth)


async def hear(vault: Vault, ask: Callable[[], object]) -> object:
    try:
        return await vault._connection.ask(ask)
    except CredentialsError as error:
        return error


@pytest.mark.parametrize("place", ASKED)
async def test_a_good_vault_is_understood(address: str, script: Script, place: str) -> None:
    script.place = ""
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault:
        assert await vault._connection.ask(partial(ASKED[place], vault._api))


@pytest.mark.parametrize("status", [200, 302, 400, 404, 502])
@pytest.mark.parametrize("place", ASKED)
async def test_whatever_it_answers_is_an_error_of_ours_without_a_word_of_it(
    address: str, script: Script, place: str, status: int
) -> None:
    script.place, script.status = place, status
    for script.body in BODIES:
        async with opened(access(address, VaultToken(lambda: TOKEN))) as vault:
            heard = await hear(vault, partial(ASKED[place], vault._api))
        if isinstance(heard, CredentialsError):
            assert heard.state in {*VaultState, ""}
            assert "canary" not in str(heard)
        else:
            # A renewal that is refused means a new sign-in.
            assert heard is None
            assert place == "auth/token/renew-self"


async def test_a_secret_that_is_nested_too_deep_to_be_read_is_its_tenant_s_trouble_and_nobody_else_s(
    address: str, script: Script
) -> None:
    script.place, script.status = "secret/data/acme", 200
    script.body = b'{"data": {"data": {"email": ' + b"[" * 9000 + b"]" * 9000 + b'}, "metadata": {"version": 1}}}'
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault:
        with pytest.raises(CredentialsUnavailable, match="secret/acme can't be read; write only email and password"):
            await vault.read(VaultRef("acme"))
        assert vault.status.state is VaultState.UP
        assert await vault._connection.ask(partial(vault._api.version, TOKEN, "the daemon", "acme")) == 1


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("status", [200, 502])
async def test_the_watch_over_vault_survives_it(address: str, script: Script, status: int, body: bytes) -> None:
    script.place, script.status, script.body = "auth/token/lookup-self", status, body
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault, anyio.create_task_group() as tasks:
        tasks.start_soon(vault.run)
        await until(lambda: vault.status.state is not VaultState.UNASKED)
        assert vault.status.state is VaultState.FAILING
        assert vault._outage.wait_s > 0
        tasks.cancel_scope.cancel()


async def test_a_token_that_was_over_when_it_arrived_is_a_state_with_a_wait_and_no_sleep_that_is_negative(
    address: str, script: Script
) -> None:
    class Late(SystemClock):
        """Each look at it is a second later."""

        looks = 0

        def monotonic(self) -> float:
            self.looks += 1
            return super().monotonic() + self.looks

    script.place, script.status = "auth/token/lookup-self", 200
    script.body = b'{"data": {"ttl": 1, "renewable": false}}'
    async with opened(access(address, VaultToken(lambda: TOKEN)), Late()) as vault, anyio.create_task_group() as tasks:
        tasks.start_soon(vault.run)
        await until(lambda: vault.status.state is VaultState.TOO_SHORT)
        assert "lengthen its ttl" in str(vault.status.error)
        tasks.cancel_scope.cancel()


async def test_an_error_that_nobody_thought_of_is_a_state_too_and_is_told_without_its_text(
    address: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> TokenLease:
        raise ZeroDivisionError("canary")

    script.place = ""
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault:
        monkeypatch.setattr(VaultApi, "secret", break_down)
        with pytest.raises(CredentialsUnavailable, match="ZeroDivisionError") as caught:
            await vault.read(VaultRef("acme"))
        assert "canary" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert vault.status.state is VaultState.FAILING


@pytest.mark.parametrize("broken", ["_daemon", "_roles"])
async def test_the_watch_itself_survives_an_error_that_nobody_thought_of(
    address: str, script: Script, broken: str
) -> None:
    script.place = ""
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault, anyio.create_task_group() as tasks:
        setattr(vault, broken, None)
        vault._poll_s = 0.01
        vault.newest(VaultRef("acme", "role"), 1e12)
        tasks.start_soon(vault.run)
        await until(lambda: vault.status.state is VaultState.FAILING)
        tasks.cancel_scope.cancel()


Drip = Callable[[anyio.abc.SocketStream], Awaitable[None]]


async def _ever(stream: anyio.abc.SocketStream, head: bytes, piece: bytes) -> None:
    await stream.send(head)
    while True:
        await stream.send(piece)
        await anyio.sleep(0.02)


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"HTTP/1.1 ", b"2"),
    "header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "body of an error": (b"HTTP/1.1 502 No\r\nContent-Length: 9999\r\n\r\n", b" "),
}


@asynccontextmanager
async def dripping(head: bytes, piece: bytes) -> AsyncIterator[str]:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            try:
                await _ever(stream, head, piece)
            except anyio.BrokenResourceError:
                return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("what", DRIPS)
async def test_one_that_drips_holds_no_thread_for_longer_than_the_timeout(what: str) -> None:
    async with dripping(*DRIPS[what]) as address:
        api = VaultApi(Place(address, "secret", None, None, 0.2), SystemClock())

        with anyio.fail_after(30), pytest.raises(requests.Timeout):
            await anyio.to_thread.run_sync(api.look_up, TOKEN)  # not abandoned: it is the thread that has to come back
        api.close()


async def test_connections_are_used_again_once_an_answer_was_read(address: str, script: Script) -> None:
    script.place = ""
    async with opened(access(address, VaultToken(lambda: TOKEN))) as vault:
        for _ in range(3):
            await vault.read(VaultRef("acme"))
        assert _connections(vault) == 1


def _connections(vault: Vault) -> int:
    adapter = vault._api._session.get_adapter("http://")
    [pool] = [adapter.poolmanager.pools[key] for key in adapter.poolmanager.pools.keys()]  # type: ignore[attr-defined]  # noqa: SIM118 - no mapping
    return int(pool.num_connections)
