"""Which runs count as a success, by the rate that their tenant asks for."""

from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import AlertSettings


def got_through(settings: AlertSettings, run: Run) -> bool:
    """Return whether a run ended regularly and met the success rate, however few campaigns it listed."""
    return run.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL) and met(settings, run)


def met(settings: AlertSettings, run: Run) -> bool:
    """Return whether enough campaigns succeeded. Divides, so that the share is rounded as the setting was."""
    if not run.listed:
        return run.outcome is Outcome.SUCCEEDED
    return through(run) / run.listed >= settings.min_success_rate


def through(run: Run) -> int:
    """Return how many campaigns of a run need nothing more."""
    return run.pushed + run.skipped + run.stored
