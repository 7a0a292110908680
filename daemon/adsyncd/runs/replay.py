"""The story of a replay: dead letters are pushed again, each with its idempotency key.

    dead letters ──► push them, several at a time ──► success: close the letter, with its campaign
                                                 └──► failure: it stays, with the new reason

A push that took effect after all does not take effect again. A replay that was cut short is simply started again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from opentelemetry.trace import Tracer, format_trace_id

from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.runs.pushing import CAMPAIGN_ERRORS, Pusher, PushQueue, recording
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
    """The outcome of a replay for one dead letter: PUSHED and closed, FAILED again, or left PENDING.

    `error`: why it is still a dead letter.
    """

    letter: DeadLetter
    state: PushState
    error: str | None = None


class LetterJournal(Protocol):
    """The store, as a replay sees it. See `adsyncd.store.Store`."""

    async def settle_replay(self, letter: DeadLetter, *, attempts: int, error: str | None, trace_id: str) -> None:
        """Record the outcome of a dead letter's push; without an `error` the letter is closed."""


class Replay:
    """Replays dead letters of one tenant once. `tally` counts its progress, which others may watch."""

    def __init__(
        self, tenant: Tenant, platform: Pusher, journal: LetterJournal, tally: Tally, *, tracer: Tracer
    ) -> None:
        self._tenant = tenant
        self._platform = platform
        self._journal = journal
        self._tally = tally
        self._tracer = tracer
        self._replayed: dict[str, Replayed] = {}
        self._trace_id = ""

    async def run(self, letters: Sequence[DeadLetter]) -> list[Replayed]:
        """Replay, and return the outcome of each of `letters`, in their order.

        An error that concerns more than one campaign ends the replay: a refused sign-in, a stop, a failing database.
        """
        attributes = {TENANT: self._tenant.id, CLIENT_ID: self._tenant.client_id}
        pushes = PushQueue(self._replay, concurrency=self._tenant.sync.concurrency)
        with (
            span(self._tracer, SPAN_REPLAY, attributes) as current,
            structlog.contextvars.bound_contextvars(tenant=self._tenant.id),
        ):
            self._trace_id = format_trace_id(current.get_span_context().trace_id)
            async with pushes.filling() as queue:
                for letter in letters:
                    await queue.send(letter)
            if pushes.error is not None:
                mark_failed(current, pushes.error)
        left = str(pushes.error)
        return [
            self._replayed.get(letter.campaign_id) or Replayed(letter, PushState.PENDING, left) for letter in letters
        ]

    async def _replay(self, letter: DeadLetter) -> None:
        with span(self._tracer, SPAN_PUSH, {CAMPAIGN_ID: letter.campaign_id}) as current:
            error = None
            try:
                attempts = await self._platform.push(letter.campaign_id, letter.idempotency_key, again=True)
            except CAMPAIGN_ERRORS as failure:
                mark_failed(current, failure)
                attempts, error = failure.attempts, str(failure)
            state = PushState.PUSHED if error is None else PushState.FAILED
            current.set_attributes({ATTEMPT: attempts, OUTCOME: state})
            with recording():
                await self._journal.settle_replay(letter, attempts=attempts, error=error, trace_id=self._trace_id)
        self._replayed[letter.campaign_id] = Replayed(letter, state, error)
        if state is PushState.PUSHED:
            self._tally.pushed += 1
        else:
            self._tally.failed += 1
