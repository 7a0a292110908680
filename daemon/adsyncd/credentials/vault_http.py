"""Requests to Vault: few at a time, each call under a deadline, each response bounded in size and time.

While Vault answers, ten calls run at once and the others queue. During an outage the queue fails at once, and one call
at a time probes whether Vault is back.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import requests
from hvac.adapters import RawAdapter
from hvac.exceptions import VaultError
from pydantic_core import from_json
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as ReadTimeout

from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.vault_errors import OUTAGES, unanswered, unexpected
from adsyncd.errors import CredentialsError, CredentialsUnavailable, OutOfResources
from adsyncd.host.shortage import shortage
from adsyncd.model.status import VaultState

T = TypeVar("T")

AT_ONCE = 10  # a requests session keeps as many connections
MOST_BYTES = 4 << 20  # Vault itself keeps at most 1 MiB at one path


class VaultConnection:
    """Runs blocking calls to the Vault called `name` in threads. `outage` records whether Vault answers."""

    def __init__(self, name: str, timeout_s: float, outage: Backoff) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._outage = outage
        self._queue = anyio.CapacityLimiter(AT_ONCE)
        self._probing = anyio.Lock()
        self._workers = anyio.CapacityLimiter(AT_ONCE)
        self._threads = threading.Semaphore(AT_ONCE)

    async def ask(self, blocking: Callable[[], T]) -> T:
        """Return the result of `blocking`, which makes one or a few requests. Raises `CredentialsError`."""
        async with self._queue:
            if self._outage.failure is None:
                return await self._run(blocking)
            async with self._probing:
                self._outage.check()
                return await self._run(blocking)

    async def _run(self, blocking: Callable[[], T]) -> T:
        try:
            with anyio.fail_after(self._timeout_s):
                result = await anyio.to_thread.run_sync(
                    self._on_thread, blocking, limiter=self._workers, abandon_on_cancel=True
                )
        except TimeoutError as exc:
            error = unanswered(requests.Timeout(), self._name)
            self._outage.fail(error)
            raise error from exc
        except CredentialsError as error:
            if error.state in OUTAGES:
                self._outage.fail(error)
            elif error.state:  # else no request was sent
                self._outage.succeed()
            raise
        self._outage.succeed()
        return result

    def _on_thread(self, blocking: Callable[[], T]) -> T:
        # The thread of a caller that timed out may still hang; the semaphore counts it until it ends.
        if not self._threads.acquire(blocking=False):
            raise CredentialsUnavailable(
                f"{self._name} has not answered earlier requests yet; check that it is up", VaultState.SLOW
            )
        try:
            return blocking()
        except CredentialsError:
            raise
        except OSError as exc:
            if lack := shortage(exc):  # this machine's state, not Vault's
                raise CredentialsUnavailable(lack) from OutOfResources(lack)
            raise unanswered(exc, self._name) from exc
        except Exception as exc:  # noqa: BLE001 - an unexpected error is a state of Vault and ends nothing
            # `from None`: the hidden error may quote a secret.
            raise unexpected(exc, self._name) from None
        finally:
            self._threads.release()


class ExchangeAdapter(RawAdapter):
    """hvac's adapter for bounded responses: returns the JSON object in the body, `{}` if there is none.

    Only the status decides whether a response is an error. No error carries any other text of the response. Raises
    VaultError and OSError.
    """

    def request(  # type: ignore[override]  # hvac returns what the adapter does
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002 - hvac's signature: here an error is always raised
        **options: Any,  # noqa: ANN401 - those of requests
    ) -> dict[str, object]:
        """Send a request and read its response to the end."""
        with closing(super().request(method, url, headers, raise_exception=False, stream=True, **options)) as response:
            answer = _object(_body(response))
        if not response.ok:
            raise VaultError.from_status(response.status_code, method=method, url=url, json=answer)
        return answer if response.status_code == requests.codes.ok else {}


class BoundedTransport(HTTPAdapter):
    """Bounds each response, from its first byte to its last, by the timeout that requests applies to one read."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:
        """Make connections whose responses have a deadline."""
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _UntilDeadline(RawIOBase):
    """Reads from a socket until the timeout of one read has passed."""

    def __init__(self, raw: RawIOBase, sock: socket) -> None:
        self._raw = raw
        self._sock = sock
        # Not the daemon's clock: the kernel does the waiting.
        self._deadline = time.monotonic() + (sock.gettimeout() or float("inf"))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - no name for buffers before 3.12
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if left != float("inf"):
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = BufferedReader(_UntilDeadline(self.fp.detach(), sock))


class _PlainConnection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _body(response: requests.Response) -> bytes:
    """Return the body, or nothing if it is longer than `MOST_BYTES`."""
    try:
        body: bytes = response.raw.read(MOST_BYTES + 1, decode_content=True)
    except ReadTimeout as exc:
        raise requests.Timeout from exc
    except HTTPError as exc:
        raise requests.ConnectionError from exc
    return body if len(body) <= MOST_BYTES else b""


def _object(body: bytes) -> dict[str, object]:
    try:
        # `json` recurses to Python's limit; a finalizer that the garbage collector runs there fails with it.
        answer = from_json(body, allow_inf_nan=False)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
