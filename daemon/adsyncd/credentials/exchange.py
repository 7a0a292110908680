"""One exchange with Vault, as hvac asks for it: bounded in size and in time, whatever answers.

An answer is a JSON object or it is none of Vault's: then it counts as an empty one, and the status alone tells. No
error carries a word of an answer but the object itself.
"""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any

import requests
from hvac.adapters import RawAdapter
from hvac.exceptions import VaultError
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TookTooLong

MOST_BYTES = 4 << 20  # Vault itself keeps at most 1 MiB at one path


class ExchangeAdapter(RawAdapter):
    """Returns the object that Vault answered, which is empty where it is none. Raises VaultError and OSError."""

    def request(  # type: ignore[override]  # hvac returns what the adapter does
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002 - hvac's signature: here an error is always raised
        **options: Any,  # noqa: ANN401 - those of requests
    ) -> dict[str, object]:
        """Ask, and read the answer to its end."""
        with closing(super().request(method, url, headers, raise_exception=False, stream=True, **options)) as response:
            answer = _object(_body(response))
        if not response.ok:
            raise VaultError.from_status(response.status_code, method=method, url=url, json=answer)
        return answer if response.status_code == requests.codes.ok else {}


class BoundedTransport(HTTPAdapter):
    """Gives each answer the time of one read, from its first byte to its last."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:
        """Make connections whose answers have a deadline."""
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _UntilDeadline(RawIOBase):
    """What comes out of a socket until the time is over that one read has."""

    def __init__(self, raw: RawIOBase, sock: socket) -> None:
        self._raw = raw
        self._sock = sock
        # Not the daemon's clock: it is the kernel that waits.
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


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _body(response: requests.Response) -> bytes:
    """Return what was answered; of what is too long, nothing."""
    try:
        body: bytes = response.raw.read(MOST_BYTES + 1, decode_content=True)
    except TookTooLong as exc:
        raise requests.Timeout from exc
    except HTTPError as exc:
        raise requests.ConnectionError from exc
    return body if len(body) <= MOST_BYTES else b""


def _object(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _no_number(name: str) -> object:
    raise ValueError(name)
