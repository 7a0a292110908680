"""Logs how runs end: what repeats is of no interest."""

import structlog

from adsyncd.model.run import Outcome, Run

_log = structlog.stdlib.get_logger(__name__)


def log_end(run: Run, *, repeats: bool) -> None:
    """Log how a run ended: at info or warning when the outcome changes, at debug when it repeats.

    A run that an operator cancelled is no reason for a warning.
    """
    well = run.outcome in (Outcome.SUCCEEDED, None) or run.was_cancelled
    log = _log.debug if repeats else _log.info if well else _log.warning
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
