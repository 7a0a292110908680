"""What the platform remembers of one client id."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mock_api.faults import Fault, draw
from mock_api.ledger import Book
from mock_api.meters import Reading, meter
from mock_api.settings import Behaviour

_ABSURD_WAIT_S = 10 * 365 * 86_400.0
_KEYS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Push:
    """A push that takes effect, and when its answer is due."""

    campaign_id: str
    due: float


class Client:
    """A client id's meter, its page in the ledger, the keys of its pushes, and its own stream of randomness.

    The stream depends on the seed and the client id alone, so that what befalls one client id is the same whatever the
    others do.
    """

    def __init__(self, client_id: str, seed: int, behaviour: Behaviour) -> None:
        self.id = client_id
        self.behaviour = behaviour
        self.book = Book()
        self._rng = random.Random(f"{seed}/{client_id}")  # noqa: S311 - faults and jitter, no secret
        self._meter = meter(behaviour.algorithm, behaviour.quota_requests, behaviour.quota_window_s)
        self._pushes: dict[str, Push] = {}
        self._calls = 0
        self._in_flight = 0

    def adopt(self, behaviour: Behaviour) -> None:
        """Change how the client id is treated; its meter forgets only if the quota itself changes."""
        before, self.behaviour = self.behaviour, behaviour
        quota = behaviour.algorithm, behaviour.quota_requests, behaviour.quota_window_s
        if quota != (before.algorithm, before.quota_requests, before.quota_window_s):
            self._meter = meter(*quota)

    def take(self, now: float) -> Reading:
        """Count a request against the quota and book it."""
        if self.behaviour.fault is Fault.ABSURD_WAIT:
            reading = Reading(accepted=False, remaining=0, reset_s=_ABSURD_WAIT_S)
        else:
            reading = self._meter.take(now)
        if reading.accepted:
            self.book.accept(now, self.behaviour.quota_window_s)
        else:
            self.book.refuse(now)
        return reading

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request among those that wait for their answer."""
        self._in_flight += 1
        self.book.peak_concurrency = max(self.book.peak_concurrency, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def fault(self, rates: Iterable[tuple[Fault, float]]) -> Fault:
        """Return what goes wrong with the next request: what is wrong with all of them, else what `rates` give."""
        self._calls += 1
        fault = self.behaviour.fault
        if fault is Fault.UNAUTHORIZED and self._calls % 2:
            fault = Fault.NONE
        return draw(rates, self._rng) if fault is Fault.NONE else fault

    def latency(self, usual_s: float) -> float:
        """Return how long the next answer takes, in seconds."""
        jitter = self.behaviour.latency_jitter
        return usual_s * self._rng.uniform(1 - jitter, 1 + jitter)

    def push(self, campaign_id: str, key: str, now: float) -> Push:
        """Let a push take effect, or return the first one with the same `key` where keys are honoured.

        It takes effect when it arrives; only its answer takes time. So nothing that happens to the request can leave
        the key between the two.
        """
        honoured = key if self.behaviour.idempotency else ""
        if honoured in self._pushes:
            return self._pushes[honoured]
        push = Push(campaign_id, now + self.latency(self.behaviour.push_latency_s))
        self.book.effect(campaign_id, key)
        if honoured:
            self._pushes[honoured] = push
            if len(self._pushes) > _KEYS_KEPT:
                del self._pushes[next(iter(self._pushes))]
        return push
