"""The story of a replay: dead letters are pushed again, each with the idempotency key with which it died.

    dead letters ──► push them, several at a time ──► it was pushed: close it, with its campaign
                                                 └──► it failed again: it stays, for that reason

So what took effect after all does not take effect again, and after a replay that was cut off it is simply replayed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import structlog
from opentelemetry.trace import Tracer, format_trace_id

from adsyncd.errors import AdsyncdError
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.runs.pipeline import CAMPAIGNS_OWN, recording
from adsyncd.telemetry.instruments import (
    ATTEMPT,
    CAMPAIGN_ID,
    CLIENT_ID,
    OUTCOME,
    SPAN_PUSH,
    SPAN_REPLAY,
    TENANT,
    mark_failed,
    span,
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a dead letter: PUSHED, so that it is none any more; FAILED again; or still PENDING: left alone.

    `error`: why it is still a dead letter.
    """

    letter: DeadLetter
    state: PushState
    error: str | None = None


class Platform(Protocol):
    """The platform, as a replay sees it."""

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        """Push a campaign, which was tried under this key before, and return in which attempt that succeeded."""


class Letters(Protocol):
    """The store, as a replay sees it. See `adsyncd.store.Store`."""

    async def settle_replay(self, letter: DeadLetter, *, attempts: int, error: str | None, trace_id: str) -> None:
        """Record what became of pushing a dead letter again; without an `error` it is closed."""


class Replay:
    """Replays dead letters of one tenant once. `tally` is counted up while it goes, for whoever shows progress."""

    def __init__(
        self,
        tenant: Tenant,
        platform: Platform,
        store: Letters,
        tally: Tally,
        *,
        tracer: Tracer,
    ) -> None:
        self._tenant = tenant
        self._platform = platform
        self._store = store
        self._tally = tally
        self._tracer = tracer
        self._replayed: dict[str, Replayed] = {}
        self._fatal: AdsyncdError | None = None

    async def run(self, letters: Sequence[DeadLetter]) -> list[Replayed]:
        """Replay, and return what became of each of `letters`, in their order.

        What concerns more than one campaign, as a refused sign-in, a stop or a database that is gone, ends the replay.
        """
        attributes = {TENANT: self._tenant.id, CLIENT_ID: self._tenant.client_id}
        with (
            span(self._tracer, SPAN_REPLAY, attributes) as current,
            structlog.contextvars.bound_contextvars(tenant=self._tenant.id),
        ):
            trace_id = format_trace_id(current.get_span_context().trace_id)
            waiting = iter(letters)
            async with anyio.create_task_group() as pushing:
                for _ in range(self._tenant.sync.concurrency):
                    pushing.start_soon(self._replay_from, waiting, trace_id)
            if self._fatal is not None:
                mark_failed(current, self._fatal)
        left = str(self._fatal)
        return [
            self._replayed.get(letter.campaign_id) or Replayed(letter, PushState.PENDING, left) for letter in letters
        ]

    async def _replay_from(self, waiting: Iterator[DeadLetter], trace_id: str) -> None:
        try:
            for letter in waiting:
                if self._fatal is not None:
                    return
                await self._replay(letter, trace_id)
        except AdsyncdError as error:
            self._fatal = self._fatal or error

    async def _replay(self, letter: DeadLetter, trace_id: str) -> None:
        with span(self._tracer, SPAN_PUSH, {CAMPAIGN_ID: letter.campaign_id}) as current:
            error = None
            try:
                attempts = await self._platform.push(letter.campaign_id, letter.idempotency_key, again=True)
            except CAMPAIGNS_OWN as failure:
                mark_failed(current, failure)
                attempts, error = failure.attempts, str(failure)
            state = PushState.PUSHED if error is None else PushState.FAILED
            current.set_attributes({ATTEMPT: attempts, OUTCOME: state})
            async with recording():
                await self._store.settle_replay(letter, attempts=attempts, error=error, trace_id=trace_id)
        self._replayed[letter.campaign_id] = Replayed(letter, state, error)
        if state is PushState.PUSHED:
            self._tally.pushed += 1
        else:
            self._tally.failed += 1
