"""Brings alerts to a receiver, which may be down for as long as it likes: nobody waits for it."""

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
_WAITS = Policy(max_attempts=8, base_s=1.0, max_s=60.0)  # after so many failures they grow no more


class Courier:
    """Keeps the latest state of each alert that its receiver does not know yet, and tries until it does.

    So what it holds is bounded by the number of alerts, however long the receiver is away; of an alert that came and
    went meanwhile, it hears that it is over. `told` is called with the states that were received, and `connect` for
    what sends.
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
        self._news = anyio.Event()
        self._reaches = True

    @property
    def receiver(self) -> Receiver:
        """Where it goes."""
        return self._receiver

    def take(self, alert: Alert) -> None:
        """Take over an alert's state, in the place of an older one."""
        self._due[alert.key] = alert
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled, and then try once more, for three seconds at most, what is left."""
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
            await self._news.wait()
            if await self._deliver(client):
                failures = 0
                continue
            failures = min(failures + 1, _WAITS.max_attempts)
            await anyio.sleep(backoff(failures, _WAITS, self._random))

    async def _deliver(self, client: httpx.AsyncClient) -> bool:
        """Send a batch, and return whether it was received."""
        batch = list(self._due.values())[:_BATCH]
        if cause := await self._refusal(client, batch):
            if self._reaches:
                _log.warning("alerts can't be delivered", receiver=self._receiver.name, cause=cause)
            self._reaches = False
            return False
        if not self._reaches:
            _log.info("alerts are delivered again", receiver=self._receiver.name)
        self._reaches = True
        for alert in batch:
            if self._due[alert.key] is alert:  # else there was news of it meanwhile
                del self._due[alert.key]
        if not self._due:
            self._news = anyio.Event()
        await self._told(batch)
        return True

    async def _refusal(self, client: httpx.AsyncClient, batch: Sequence[Alert]) -> str | None:
        """Send alerts, and return why they were not received: in no words of httpx's, which might hold the address."""
        try:
            body = self._receiver.body(batch, self._clock.now())
            with anyio.fail_after(_TIMEOUT_S):
                async with client.stream("POST", self._receiver.url, json=body) as answer:  # its body is not for us
                    return None if answer.is_success else f"HTTP {answer.status_code}"
        except Exception as error:  # noqa: BLE001 - no receiver's trouble is the daemon's
            return shortage(error) or type(error).__name__
