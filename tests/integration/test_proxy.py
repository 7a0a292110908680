"""Platforms behind a real proxy, with certificates of a private CA, as corporate networks have them."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import AdsyncdError, CredentialsMissing, Unavailable
from adsyncd.model.tenant import InFile, InVariable
from adsyncd.model.tenant import Platform as Behind
from support.connected import QUOTA, Connected, connected
from support.platform import HEALTHY, Platform, accounts, running_platform
from support.two_hosts import two_hosts

LOGIN = "canary-user:canary-p:ss"
BASIC = b"Proxy-Authorization: Basic " + b64encode(LOGIN.encode())


@dataclass
class Proxy:
    """Opens a tunnel for CONNECT, and answers anything else with 407. `wants`: what a request has to hold."""

    address: str = ""
    wants: bytes = b""
    answer: bytes = b"407 canary-words"
    asked: list[bytes] = field(default_factory=list)

    async def serve(self, stream: SocketStream | TLSStream) -> None:
        async with stream:
            head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", 65536)
            self.asked.append(head)
            method, target, _ = head.split(b" ", 2)
            if method != b"CONNECT" or self.wants not in head:
                await stream.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % self.answer)
                return
            host, port = target.decode().split(":")
            await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
            async with await anyio.connect_tcp(host, int(port)) as far, anyio.create_task_group() as both:
                both.start_soon(self._pass, stream, far)
                both.start_soon(self._pass, far, stream)

    @staticmethod
    async def _pass(one: SocketStream | TLSStream, other: SocketStream | TLSStream) -> None:
        try:
            async for chunk in one:
                await other.send(chunk)
            await other.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass


@dataclass
class Certificates:
    """A private CA, and how a server shows a certificate of its."""

    pem: str
    files: tuple[str, ...]
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    certificate, server = ca.issue_cert("127.0.0.1"), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(server)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    files = ("--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem"))
    return Certificates(ca.cert_pem.bytes().decode(), files, server)


@pytest.fixture(scope="module")
async def platform(private: Certificates) -> AsyncIterator[Platform]:
    async with running_platform({"everyone": HEALTHY, "accounts": accounts("acme")}, *private.files) as platform:
        yield platform


@asynccontextmanager
async def proxying(proxy: Proxy, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    async def serve(stream: SocketStream) -> None:
        await proxy.serve(await TLSStream.wrap(stream, server_side=True, ssl_context=tls) if tls else stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        proxy.address = f"{'https' if tls else 'http'}://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        yield proxy
        tasks.cancel_scope.cancel()


def behind(
    base_url: str,
    proxy: str | InVariable | InFile | None,
    authorities: str | None,
    environ: Mapping[str, str] | None = None,
) -> AbstractAsyncContextManager[Connected]:
    platform = Behind("mixo", base_url, shipped_profile(), proxy=proxy, authorities=authorities)
    return connected(base_url, environ=environ, platform=platform, max_attempts=1)


async def failure(run: Connected) -> AdsyncdError:
    with pytest.raises(AdsyncdError) as caught:
        await run.client.page(1)
    assert "canary" not in f"{caught.value}"
    return caught.value


def secret(proxy: Proxy) -> str:
    scheme, _, host = proxy.address.partition("://")
    return f"{scheme}://canary-user:canary-p%3Ass@{host}"


@pytest.mark.parametrize("secure", [False, True])
async def test_a_platform_is_reached_by_its_proxy_alone_and_trusted_by_the_private_ca(
    platform: Platform, private: Certificates, secure: bool
) -> None:
    async with (
        proxying(Proxy(), private.server if secure else None) as proxy,
        behind(platform.base_url, proxy.address, private.pem) as run,
    ):
        page = await run.client.page(1)
        await run.client.push(page.campaigns[0].id, "key")
    assert {head.split(b"\r\n")[0] for head in proxy.asked} == {
        f"CONNECT {platform.base_url.removeprefix('https://')} HTTP/1.1".encode()
    }
    assert not [head for head in proxy.asked if b"Bearer" in head or b"Basic" in head]  # those are the platform's


@pytest.mark.parametrize("place", ["file", "variable"])
async def test_a_user_and_a_password_of_the_proxy_s_come_from_where_the_settings_say(
    platform: Platform, private: Certificates, place: str, tmp_path: Path
) -> None:
    async with proxying(Proxy(wants=BASIC)) as proxy:
        (tmp_path / "proxy").write_text(secret(proxy) + "\n")
        ref = InFile(tmp_path / "proxy") if place == "file" else InVariable("OURS")
        async with behind(platform.base_url, ref, private.pem, {"OURS": secret(proxy)}) as run:
            assert (await run.client.page(1)).campaigns


@pytest.mark.parametrize("answer", ["407 canary-words", "403 canary-words", "502 canary-words"])
async def test_a_proxy_that_turns_away_is_named_with_its_status(
    platform: Platform, private: Certificates, answer: str
) -> None:
    async with (
        proxying(Proxy(wants=b"never", answer=answer.encode())) as proxy,
        behind(platform.base_url, InVariable("P"), private.pem, {"P": secret(proxy)}) as run,
    ):
        error = await failure(run)
        where = proxy.address.removeprefix("http://")
        assert f"the proxy {where} answered {answer[:3]} to a connection to" in str(error)
        assert "platforms.mixo.proxy" in str(error)
        assert isinstance(error, Unavailable)


async def test_a_request_that_the_proxy_turns_away_costs_no_permit(platform: Platform, private: Certificates) -> None:
    async with proxying(Proxy()) as proxy, behind(platform.base_url, proxy.address, private.pem) as run:
        await run.client.page(1)
        proxy.wants = b"never"
        outcomes: list[str] = []

        async def list_again() -> None:
            try:
                await run.client.page(1)
            except Unavailable as error:
                outcomes.append(str(error))
            else:
                outcomes.append("listed")

        async with anyio.create_task_group() as tasks:  # one has the tunnel that is open, the other needs another
            tasks.start_soon(list_again)
            tasks.start_soon(list_again)
        [turned_away] = [outcome for outcome in outcomes if outcome != "listed"]
        assert "answered 407" in turned_away
        assert (run.tally.requests, run.gate.free) == (2, QUOTA.requests - 2)


async def test_a_proxy_s_refusal_of_a_plain_request_is_not_the_platform_s() -> None:
    async with proxying(Proxy()) as proxy, behind("http://127.0.0.1:1", proxy.address, None) as run:
        assert "answered 407" in str(await failure(run))


async def test_a_proxy_that_is_down_is_named(private: Certificates) -> None:
    async with behind("https://ads.invalid", "http://127.0.0.1:1", private.pem) as run:
        assert "no connection to ads.invalid by way of the proxy 127.0.0.1:1: " in str(await failure(run))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "the environment variable P holds no secret"),
        ({"P": "canary"}, "what platforms.mixo.proxy leads to is not an address"),
        ({"P": "socks5://u:canary@h:1"}, "what platforms.mixo.proxy leads to is the address of a SOCKS proxy"),
    ],
)
async def test_a_proxy_whose_address_cannot_be_had_fails_runs_with_its_reason_and_nothing_goes_around_it(
    platform: Platform, private: Certificates, environ: dict[str, str], words: str
) -> None:
    async with behind(platform.base_url, InVariable("P"), private.pem, environ) as run:
        error = await failure(run)
    assert isinstance(error, CredentialsMissing)
    assert words in str(error)


async def test_a_platform_is_not_trusted_without_its_private_ca_and_another_s_ca_does_not_help(
    platform: Platform,
) -> None:
    for pem in (None, trustme.CA().cert_pem.bytes().decode()):
        async with behind(platform.base_url, None, pem) as run:
            assert "CERTIFICATE_VERIFY_FAILED" in str(await failure(run))


async def test_the_environment_names_no_proxy(
    platform: Platform, private: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    async with behind(platform.base_url, None, private.pem) as run:
        assert (await run.client.page(1)).campaigns


async def test_a_sign_in_at_another_host_takes_the_same_proxy_and_authorities(private: Certificates) -> None:
    async with two_hosts(private.server) as hosts, proxying(Proxy()) as proxy:
        platform = Behind("mixo", hosts.platform.url, hosts.profile, proxy=proxy.address, authorities=private.pem)
        async with connected(hosts.platform.url, account=hosts.account, platform=platform, max_attempts=1) as run:
            assert (await run.client.page(1)).number == 1
    reached = {head.split(b" ")[1].decode() for head in proxy.asked}
    assert reached == {url.removeprefix("https://") for url in (hosts.platform.url, hosts.sign_in.url)}
    assert not [head for head in proxy.asked if b"canary" in head]
