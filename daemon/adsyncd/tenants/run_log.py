"""Logs how runs end: each change, once an hour what goes on not to succeed, and a sum for all that does."""

from collections import Counter

import structlog

from adsyncd.model.run import Outcome, Run
from adsyncd.telemetry.repetition import Repetition

_log = structlog.stdlib.get_logger(__name__)


class RunLog:
    """Logs how the runs of all tenants end, and counts them."""

    def __init__(self) -> None:
        self._outcomes = Counter[Outcome]()
        self._pushed = 0

    def ended(self, run: Run, said: Repetition, now_s: float) -> None:
        """Log how a run ended: at info or warning when its outcome or its reason changes, at debug when it repeats.

        `said`: what was said of its tenant. What is no success is said once an hour while it repeats. A run that an
        operator cancelled is no reason for a warning. Of one without an end the log has `run left open` already.
        """
        news = False
        if run.outcome:
            self._outcomes[run.outcome] += 1
            self._pushed += run.pushed
            hourly = run.outcome is not Outcome.SUCCEEDED
            news = said.is_news("run", f"{run.outcome}: {run.error}", now_s, hourly=hourly)
        well = run.outcome is Outcome.SUCCEEDED or run.was_cancelled
        log = (_log.info if well else _log.warning) if news else _log.debug
        log(
            "run ended" if run.outcome else "run interrupted",
            tenant=run.tenant,
            run_id=run.run_id,
            trace_id=run.trace_id,
            outcome=run.outcome,
            listed=run.listed,
            pushed=run.pushed,
            stored=run.stored,
            error=run.error,
        )

    def sum_up(self) -> None:
        """Log how many runs ended since the last sum, by outcome."""
        counts = {outcome.value: self._outcomes[outcome] for outcome in Outcome}
        _log.info("runs of the last hour", **counts, pushed=self._pushed)
        self._outcomes.clear()
        self._pushed = 0
