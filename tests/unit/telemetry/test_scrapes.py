"""Scrapes over real sockets, of clients that are in order and of others."""

import gzip
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
from anyio.abc import SocketStream
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from adsyncd.clock import SystemClock
from adsyncd.errors import ConfigError
from adsyncd.telemetry import scrapes
from adsyncd.telemetry.instruments import DEAD_LETTERS, PUSHED, RUN_DURATION, VAULT_UP, Instruments
from adsyncd.telemetry.metric_readers import Joined
from adsyncd.telemetry.scrapes import Pages, ScrapedReader, ScrapeServer, listen
from adsyncd.telemetry.series import SeriesTable
from support.clock import SetClock

HOST, PORT = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()
    return host, port


@pytest.fixture
def url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}/metrics"


class Scraped:
    """Metrics, and pages of them."""

    server: ScrapeServer

    def __init__(self) -> None:
        self.series, self.registry = SeriesTable(SystemClock()), CollectorRegistry()
        resource = Resource({"service.name": "adsyncd", "deployment.environment.name": "test"})
        reader = ScrapedReader(Joined(self.series, resource), self.registry)
        meter = MeterProvider([reader], resource, shutdown_on_exit=False).get_meter("adsyncd")
        self.instruments = Instruments(meter, self.series)
        self.pages = Pages(self.registry, SetClock())

    def text(self, accept: str = "") -> str:
        return self.pages.render(accept, zipped=False)[0].decode()


@pytest.fixture
async def server(listener: socket.socket) -> AsyncIterator[Scraped]:
    scraped = Scraped()
    scraped.instruments.add(PUSHED, 3, tenant="acme")
    scraped.server = ScrapeServer([listener], Pages(scraped.registry, SystemClock()))
    yield scraped
    await anyio.to_thread.run_sync(scraped.server.close)
    assert not scraped.server._thread.is_alive()


def test_metrics_have_the_names_that_prometheus_expects_and_no_labels_of_scopes() -> None:
    scraped = Scraped()
    scraped.instruments.add(PUSHED, 3, tenant="acme")
    scraped.instruments.set(DEAD_LETTERS, 2, tenant='a"cme')
    scraped.instruments.set(VAULT_UP, 1)
    scraped.instruments.record(RUN_DURATION, 90, outcome="succeeded")
    lines = scraped.text().splitlines()
    assert 'adsyncd_campaigns_pushed_total{adsyncd_tenant="acme"} 3.0' in lines
    assert 'adsyncd_dead_letters{adsyncd_tenant="a\\"cme"} 2.0' in lines
    assert "adsyncd_vault_up 1.0" in lines
    assert 'adsyncd_run_duration_seconds_bucket{adsyncd_outcome="succeeded",le="120"} 1.0' in lines
    assert "# TYPE adsyncd_campaigns_pushed_total counter" in lines
    [target] = [line for line in lines if line.startswith("target_info{")]
    assert 'service_name="adsyncd"' in target
    assert 'deployment_environment_name="test"' in target
    assert "otel_scope" not in scraped.text()


def test_each_of_thousands_of_tenants_has_its_own_series() -> None:
    scraped = Scraped()
    for number in range(5000):
        scraped.instruments.add(PUSHED, 1, tenant=f"t-{number}")
    lines = scraped.text().splitlines()
    assert sum(line.startswith("adsyncd_campaigns_pushed_total{adsyncd_tenant=") for line in lines) == 5000


def test_openmetrics_is_sent_to_those_who_ask_for_it() -> None:
    text, content_type = Scraped().pages.render("application/openmetrics-text;version=1.0.0,*/*;q=0.1", zipped=False)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")


def test_a_page_that_took_long_is_sent_again_for_a_while() -> None:
    scraped, clock = Scraped(), SetClock()
    pages = Pages(scraped.registry, clock)

    class Slow:
        def collect(self) -> list[object]:
            clock.elapsed_s += 2
            return []

    scraped.registry.register(Slow())  # type: ignore[arg-type]  # it collects
    first, _ = pages.render("", zipped=False)
    scraped.instruments.add(PUSHED, 1, tenant="acme")
    clock.elapsed_s += 7.9
    assert pages.render("", zipped=False)[0] == first
    clock.elapsed_s += 0.2
    assert b"acme" in pages.render("", zipped=False)[0]


async def test_a_scrape_is_answered_zipped_if_wanted(server: Scraped, url: str) -> None:  # noqa: ARG001 - it runs
    async with httpx.AsyncClient() as client:
        plain = await client.get(url, headers={"Accept-Encoding": "identity"})
        zipped = await client.get(url, headers={"Accept-Encoding": "gzip"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert ("content-encoding" in plain.headers, zipped.headers["content-encoding"]) == (False, "gzip")
    assert zipped.text == plain.text
    assert 'adsyncd_campaigns_pushed_total{adsyncd_tenant="acme"} 3.0' in plain.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_other_requests_are_refused(server: Scraped, url: str, method: str, path: str, status: int) -> None:  # noqa: ARG001
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, httpx.URL(url).join(path))
    assert answer.status_code == status


async def read(address: tuple[str, int], sent: bytes) -> bytes:
    async with await anyio.connect_tcp(*address) as stream:
        await stream.send(sent)
        found = b""
        try:
            while True:
                found += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return found


@pytest.mark.parametrize("sent", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n", b"a" * 20_000], ids=repr)
async def test_nonsense_gets_a_refusal_or_nothing(server: Scraped, address: tuple[str, int], sent: bytes) -> None:  # noqa: ARG001
    assert (await read(address, sent)).partition(b"\r\n")[0] in (b"HTTP/1.1 404 Not Found", b"")
    assert (await read(address, REQUEST)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_hundred_clients_that_send_nothing_keep_no_scrape_out(
    server: Scraped,  # noqa: ARG001 - it runs
    address: tuple[str, int],
    url: str,
) -> None:
    idle = [await anyio.connect_tcp(*address) for _ in range(100)]
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            assert (await client.get(url)).status_code == 200
    assert threading.active_count() < 20
    for stream in idle:
        await stream.aclose()


@pytest.mark.parametrize("sent", [b"", b"GET /metrics", REQUEST], ids=["nothing", "half a request", "a request"])
async def test_a_client_that_goes_on_neither_sending_nor_reading_is_dropped(
    server: Scraped, listener: socket.socket, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # its connections inherit it
    for number in range(5000):
        server.instruments.add(PUSHED, 1, tenant=f"{number:060}")
    dropped, answer = anyio.Event(), server.server._answer
    loop = anyio.lowlevel.current_token()

    async def answered(stream: SocketStream, scope: anyio.CancelScope) -> None:
        await answer(stream, scope)
        anyio.from_thread.run_sync(dropped.set, token=loop)

    with monkeypatch.context() as hurried, socket.socket() as client:
        hurried.setattr(server.server, "_answer", answered)
        hurried.setattr(scrapes, "_HEAD_S", 0.05)
        hurried.setattr(scrapes, "_SENDING_S", 0.05)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(sent)
        with anyio.fail_after(20):
            await dropped.wait()
    assert len(await read(address, REQUEST)) > 5000 * 60


async def test_a_mistake_costs_one_scrape(server: Scraped, address: tuple[str, int]) -> None:
    class Broken:
        times = 0

        def collect(self) -> list[object]:
            self.times += 1
            if self.times == 1:
                raise ValueError
            return []

    server.registry.register(Broken())  # type: ignore[arg-type]  # it collects
    assert await read(address, REQUEST) == b""
    assert (await read(address, REQUEST)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_it_listens_at_each_address_of_its_host_and_nowhere_else(address: tuple[str, int]) -> None:
    del address  # of a socket that is open: the next free port is another
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listeners = listen({PORT: str(port)})
    assert {listener.getsockname()[0] for listener in listeners} <= {"127.0.0.1", "::1"}
    for listener in listeners:
        listener.close()


def test_an_address_that_can_not_be_used_is_an_error_with_its_variable_and_the_fix(address: tuple[str, int]) -> None:
    def wrong(**variables: str) -> str:
        with pytest.raises(ConfigError) as caught:
            listen(variables)
        [problem] = caught.value.problems
        return str(problem)

    port = str(address[1])
    assert wrong(**{HOST: "127.0.0.1", PORT: port}) == (
        f"{PORT}: can't listen at 127.0.0.1:{port} for Prometheus: Address already in use; choose a free port, or stop"
        " the program that has it"
    )
    assert wrong(**{HOST: "203.0.113.7"}) == (
        f"{HOST}: '203.0.113.7' is no address of this machine; use localhost, 0.0.0.0 or an address of this machine"
    )
    assert f"{HOST}: 'nowhere.invalid' can't be looked up" in wrong(**{HOST: "nowhere.invalid"})


def test_compressed_pages_are_the_same_pages() -> None:
    scraped = Scraped()
    scraped.instruments.add(PUSHED, 3, tenant="acme")
    content, _ = scraped.pages.render("", zipped=True)
    assert gzip.decompress(content).decode() == scraped.text()
