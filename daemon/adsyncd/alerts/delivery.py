"""Sends alerts to a receiver in the background. The receiver may be down for any time: nothing waits for it."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio
import httpx
import structlog

from adsyncd.alerts.receivers import Receiver
from adsyncd.clock import Clock
from adsyncd.host.shortage import shortage
from adsyncd.model.alert import Alert, AlertKey
from adsyncd.rate.retry import Policy, backoff

Connect = Callable[[], httpx.AsyncBaseTransport]

_log = structlog.stdlib.get_logger(__name__)

_TIMEOUT_S = 10.0  # of one POST, all phases together
_LAST_TRY_S = 3.0
_BATCH = 100  # alerts in one POST
_WAITS = Policy(max_attempts=8, base_s=1.0, max_s=60.0)  # the wait stops growing after this many failures


class Delivery:
    """Keeps the latest undelivered state of each alert, and retries until the receiver has accepted it.

    Its memory is bounded by the number of alerts, however long the receiver is down; of an alert that fired and
    resolved meanwhile, only the end is delivered. `told` is called with the states that were accepted, `connect` makes
    the transport.
    """

    def __init__(
        self,
        receiver: Receiver,
        told: Callable[[Sequence[Alert]], Awaitable[None]],
        *,
        connect: Connect,
        clock: Clock,
        random: Random,
    ) -> None:
        self._receiver = receiver
        self._told = told
        self._connect = connect
        self._clock = clock
        self._random = random
        self._due: dict[AlertKey, Alert] = {}
        self._pending = anyio.Event()
        self._healthy = True

    @property
    def receiver(self) -> Receiver:
        """The receiver of its alerts."""
        return self._receiver

    def take(self, alert: Alert) -> None:
        """Queue an alert's state for delivery; it replaces an older one."""
        self._due[alert.key] = alert
        self._pending.set()

    async def run(self) -> None:
        """Deliver until cancelled, then send the rest once more, for three seconds at most."""
        async with httpx.AsyncClient(transport=self._connect(), timeout=_TIMEOUT_S, trust_env=False) as client:
            try:
                await self._deliver_all(client)
            finally:
                with anyio.move_on_after(_LAST_TRY_S, shield=True):
                    while self._due and await self._deliver(client):
                        pass

    async def _deliver_all(self, client: httpx.AsyncClient) -> None:
        failures = 0
        while True:
            await self._pending.wait()
            if await self._deliver(client):
                failures = 0
                continue
            failures = min(failures + 1, _WAITS.max_attempts)
            await anyio.sleep(backoff(failures, _WAITS, self._random))

    async def _deliver(self, client: httpx.AsyncClient) -> bool:
        """Send a batch, and return whether the receiver accepted it."""
        batch = list(self._due.values())[:_BATCH]
        if cause := await self._post(client, batch):
            if self._healthy:
                _log.warning("alerts can't be delivered", receiver=self._receiver.name, cause=cause)
            self._healthy = False
            return False
        if not self._healthy:
            _log.info("alerts are delivered again", receiver=self._receiver.name)
        self._healthy = True
        for alert in batch:
            if self._due[alert.key] is alert:  # else it changed meanwhile
                del self._due[alert.key]
        if not self._due:
            self._pending = anyio.Event()
        await self._told(batch)
        return True

    async def _post(self, client: httpx.AsyncClient, batch: Sequence[Alert]) -> str | None:
        """Send alerts, and return why it failed, or None. httpx's own message is left out: it may quote the address."""
        try:
            body = self._receiver.body(batch, self._clock.now())
            with anyio.fail_after(_TIMEOUT_S):
                async with client.stream("POST", self._receiver.url, json=body) as answer:  # its body is not read
                    return None if answer.is_success else f"HTTP {answer.status_code}"
        except Exception as error:  # noqa: BLE001 - no receiver may end the daemon
            return shortage(error) or type(error).__name__
