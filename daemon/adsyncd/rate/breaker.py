"""The circuit breaker in front of a platform's host: it awaits what `circuit` decides.

A request passes it twice. Before it takes a permit, it waits while the circuit is open for it, which costs neither a
permit nor an attempt. Right before it is sent, it enters. So a probe never waits for its own quota while all others
wait for the probe.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random

import anyio
import structlog

from adsyncd.clock import Clock
from adsyncd.errors import PlatformError, Stopping, Unavailable
from adsyncd.rate.circuit import Circuit

_log = structlog.stdlib.get_logger(__name__)


class Passage:
    """The time of one request as a context, whose end shows whether the host lives.

    `Unavailable` shows that it does not; any other `PlatformError` shows that it does. Other exceptions, such as a
    cancellation or `OutOfResources`, show nothing. Without an exception the host lives, unless `failed` was called.
    """

    __slots__ = ("_breaker", "_client_id", "_probe", "_why")

    def __init__(self, breaker: "Breaker", client_id: str, *, probe: bool) -> None:
        self._breaker = breaker
        self._client_id = client_id
        self._probe = probe
        self._why: str | None = None

    def __enter__(self) -> None: ...

    def failed(self, why: str) -> None:
        """Count the answer as a failure of the host."""
        self._why = why

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        why = str(error) if isinstance(error, Unavailable) else self._why
        if why is not None:
            self._breaker._failed(self._client_id, why, probe=self._probe)  # noqa: SLF001 - the two are one mechanism
        elif error is None or isinstance(error, PlatformError):
            self._breaker._answered(self._client_id)  # noqa: SLF001
        else:
            self._breaker._abandoned(probe=self._probe)  # noqa: SLF001


class Breaker:
    """The circuit breaker of one `host`, for all its client ids. `on_change`: called when it opens or closes."""

    def __init__(self, host: str, clock: Clock, random: Random, on_change: Callable[[], None]) -> None:
        self._host = host
        self._clock = clock
        self._on_change = on_change
        self._circuit = Circuit(random)
        self._last = ""  # why the last request failed
        self._changed = anyio.Event()
        self._stopped = False

    def holds(self, client_id: str) -> bool:
        """Whether a request of a client id has to wait now."""
        now = self._clock.monotonic()
        return self._circuit.opens_at(client_id, now) > now

    async def wait(self, client_id: str, on_wait: Callable[[float], None]) -> None:
        """Wait until a client id may send. `on_wait`: called with the seconds to wait, whenever they change.

        Raises `Stopping` once the breaker is stopped.
        """
        while (opens_at := self._circuit.opens_at(client_id, now := self._clock.monotonic())) > now:
            if self._stopped:
                raise Stopping("stopping: nothing is sent any more")
            on_wait(opens_at - now)
            with anyio.move_on_after(opens_at - now):
                await self._changed.wait()

    def enter(self, client_id: str) -> Passage | None:
        """Begin a request that is about to be sent; None if it must wait after all."""
        if self.holds(client_id):
            return None
        return Passage(self, client_id, probe=self._circuit.begin(client_id, self._clock.monotonic()))

    def stop(self) -> None:
        """Turn waiting requests away, now and from now on."""
        self._stopped = True
        self._wake()

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._circuit.is_open

    @property
    def trouble(self) -> str:
        """The trouble with the host, in words for an operator, while the circuit is open."""
        since = self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._circuit.since)
        return f"{self._host}: nothing but failures since {since:%H:%M:%S} UTC, the last one: {self._last}"

    def _answered(self, client_id: str) -> None:
        was_open = self._circuit.is_open
        self._circuit.answered(client_id)
        if was_open:
            self._on_change()
            down_s = self._clock.monotonic() - self._circuit.since
            _log.info("circuit breaker closed, the platform answers again", host=self._host, down_s=round(down_s))
            self._wake()

    def _failed(self, client_id: str, why: str, *, probe: bool) -> None:
        was_open, self._last = self._circuit.is_open, why
        self._circuit.failed(client_id, self._clock.monotonic(), probe=probe)
        if not was_open and self._circuit.is_open:
            self._on_change()
            _log.warning("circuit breaker opened, the platform answers nobody", host=self._host, error=why)
        if probe:
            self._wake()

    def _abandoned(self, *, probe: bool) -> None:
        self._circuit.abandoned(self._clock.monotonic(), probe=probe)
        if probe:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
