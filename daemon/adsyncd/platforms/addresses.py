"""Connects a socket to a host that has several addresses, of which some may not answer (Happy Eyeballs).

uvloop has nothing for it, and asyncio hides all errors but a text once there are two.
"""

import asyncio
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import anyio

_NEXT_S = 0.25  # RFC 8305, 5: how long to try one address before the next is tried, too

_Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


async def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address of `host` that answers, and doesn't block.

    Raises `OSError`; its cause is an `ExceptionGroup` of all errors if there are several addresses.
    """
    found = await _look_up(host, port)
    if len(found) == 1:
        return await _connected(found[0])
    errors: list[OSError] = []
    winner: socket.socket | None = None

    async def attempt(address: _Found, over: anyio.Event) -> None:
        nonlocal winner
        try:
            connected = await _connected(address)
        except OSError as error:
            errors.append(error)
            over.set()
            return
        if winner is None:
            winner = connected
            tasks.cancel_scope.cancel()
        else:
            connected.close()

    try:
        async with anyio.create_task_group() as tasks:
            for address in found:
                over = anyio.Event()
                tasks.start_soon(attempt, address, over)
                with anyio.move_on_after(_NEXT_S):
                    await over.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    if winner is not None:
        return winner
    raise OSError("; ".join(dict.fromkeys(map(str, errors)))) from ExceptionGroup("all addresses", errors)


async def _look_up(host: str, port: int) -> Sequence[_Found]:
    """Return a host's addresses, the families in turns. Source: RFC 8305, 4."""
    try:  # the address of a number is known without a thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no name of a host") from error
    first = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


async def _connected(address: _Found) -> socket.socket:
    family, kind, protocol, _, place = address
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.settimeout(0.0)
        await asyncio.get_running_loop().sock_connect(connecting, place)
    except BaseException:
        connecting.close()
        raise
    return connecting
