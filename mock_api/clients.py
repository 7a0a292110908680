"""The platform's state of one client id."""

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mock_api.faults import FaultKind, draw
from mock_api.ledger import Book
from mock_api.meters import Meter, Reading, meter, take
from mock_api.settings import Behaviour

_ABSURD_WAIT_S = 10 * 365 * 86_400.0
_KEYS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class AcceptedPush:
    """A push that takes effect, and the time of its answer."""

    campaign_id: str
    due: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a request, with the state of the client id's `windows` and of the `platform`'s."""

    accepted: bool
    windows: tuple[Reading, ...]
    platform: Reading | None = None

    @property
    def wait_s(self) -> float:
        """For a refused request: the seconds until it would be accepted, without other requests."""
        readings = (*self.windows, self.platform) if self.platform else self.windows
        return max(reading.reset_s for reading in readings if reading.lacks)

    @property
    def by_platform(self) -> bool:
        """Whether only the platform's quota refuses it."""
        return not self.accepted and not any(reading.lacks for reading in self.windows)


class ClientState:
    """A client id's meters, its page in the ledger, the keys of its pushes, and its own stream of randomness.

    The stream depends on the seed and the client id alone, so a client id gets the same faults whatever others do.
    """

    def __init__(self, client_id: str, seed: int, behaviour: Behaviour) -> None:
        self.id = client_id
        self.behaviour = behaviour
        self.book = Book()
        self.moved = 0  # campaigns from the beginning of the listing to its end
        self._rng = random.Random(f"{seed}/{client_id}")  # noqa: S311 - faults and jitter, no secret
        self._meters = [meter(behaviour.algorithm, quota) for quota in behaviour.allowed]
        self._seen = -math.inf
        self._pushes: dict[str, AcceptedPush] = {}
        self._refused: set[str] = set()  # requests whose last answer was 401
        self._in_flight = 0

    def adopt(self, behaviour: Behaviour) -> None:
        """Change how the client id is treated; its meters forget only if the quotas themselves change."""
        before, self.behaviour = self.behaviour, behaviour
        if (behaviour.algorithm, behaviour.allowed) != (before.algorithm, before.allowed):
            self._meters = [meter(behaviour.algorithm, quota) for quota in behaviour.allowed]

    def take(self, now: float, platform: Meter | None = None, cost: int = 1) -> Verdict:
        """Count a request against all quotas, that of the `platform` included, or against none; and book it.

        It counts as `cost`.
        """
        if self.behaviour.fault is FaultKind.ABSURD_WAIT:
            readings = tuple(Reading(quota, 0, _ABSURD_WAIT_S, lacks=True) for quota in self.behaviour.allowed)
            verdict = Verdict(accepted=False, windows=readings)
        else:
            self._let_others_in(now)
            accepted = take((*self._meters, platform) if platform else self._meters, now, cost)
            readings = tuple(each.read() for each in self._meters)
            verdict = Verdict(accepted, readings, platform.read() if platform else None)
        if verdict.accepted:
            self.book.accept(now, [quota.window_s for quota in self.behaviour.allowed], cost)
        else:
            self.book.refuse(now)
            self.book.refused_by_platform += verdict.by_platform
        return verdict

    def _let_others_in(self, now: float) -> None:
        """Count the foreign requests since the last request, at most those of the longest window."""
        if self.behaviour.foreign_requests:
            every_s = self.behaviour.quota_window_s / self.behaviour.foreign_requests
            since = max(self._seen, now - max(quota.window_s for quota in self.behaviour.allowed))
            for number in range(math.floor(since / every_s) + 1, math.floor(now / every_s) + 1):
                self.book.foreign += take(self._meters, min(number * every_s, now))
        self._seen = now

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request among those that wait for their answer."""
        self._in_flight += 1
        self.book.peak_concurrency = max(self.book.peak_concurrency, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def fault(self, rates: Iterable[tuple[FaultKind, float]], request: str = "") -> FaultKind:
        """Return the fault of a request: the one of all requests, or one drawn by `rates`."""
        fault = self.behaviour.fault
        if fault is FaultKind.UNAUTHORIZED:
            self._refused ^= {request}
            if request not in self._refused:
                fault = FaultKind.NONE
        return draw(rates, self._rng) if fault is FaultKind.NONE else fault

    def latency(self, usual_s: float) -> float:
        """Return the latency of the next answer, in seconds."""
        jitter = self.behaviour.latency_jitter
        return usual_s * self._rng.uniform(1 - jitter, 1 + jitter)

    def push(self, campaign_id: str, key: str, now: float) -> AcceptedPush:
        """Let a push take effect, or return the first one with the same `key` where keys are honoured.

        It takes effect when it arrives; only its answer takes time. So nothing that happens to the request can leave
        the key between the two.
        """
        honoured = key if self.behaviour.idempotency else ""
        if honoured in self._pushes:
            return self._pushes[honoured]
        push = AcceptedPush(campaign_id, now + self.latency(self.behaviour.push_latency_s))
        self.book.effect(campaign_id, key)
        if honoured:
            self._pushes[honoured] = push
            if len(self._pushes) > _KEYS_KEPT:
                del self._pushes[next(iter(self._pushes))]
        return push
