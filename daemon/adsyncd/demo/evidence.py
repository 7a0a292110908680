"""The result of a tenant's run from four sources: the run's record, the database, the platform's ledger, the trace."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from adsyncd.demo.platform import LedgerPage
from adsyncd.errors import AdsyncdError
from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import counted, were
from adsyncd.rate.quota import Quota


@dataclass(frozen=True, slots=True)
class TenantEvidence:
    """A tenant's ended run, and its results elsewhere.

    `stored` campaigns are in the database, as synced unless the tenant only `pulls`; `ledger` is the client id's;
    `traced` says that the root of the run's trace arrived.
    """

    run: Run
    stored: int
    ledger: LedgerPage
    traced: bool
    pulls: bool = False

    @property
    def done(self) -> int:
        """Campaigns that are both pushed at the platform and stored here, or both listed and stored."""
        return min(self.stored, self.run.listed if self.pulls else len(self.ledger.pushes))

    @property
    def refused(self) -> int:
        """Requests that were refused for quota, as either side counted them."""
        return max(self.run.refused, self.ledger.refused)

    @property
    def took(self) -> timedelta:
        """The duration of the run."""
        return (self.run.ended_at or self.run.started_at) - self.run.started_at

    def quota_used(self, quota: Quota) -> float:
        """Return which share of the most that the quota allows in so long a time was accepted; 1 is all of it.

        The most is a whole quota at the start, and again each time that a window has passed.
        """
        return self.ledger.accepted / (quota.requests * (self.took // quota.per + 1))


def judge(evidence: Sequence[TenantEvidence], campaigns: int) -> None:
    """Raise AdsyncdError unless all `campaigns` were pushed once and stored, nothing was refused, every run traced.

    Those of a tenant that only pulls have to be stored, and not pushed.
    Its text has a line for each thing that is not so.
    """
    if problems := [f"{found.run.tenant}: {problem}" for found in evidence for problem in _problems(found, campaigns)]:
        raise AdsyncdError("\n".join(problems))


def _problems(found: TenantEvidence, campaigns: int) -> Iterator[str]:
    pushes = found.ledger.pushes
    if found.run.outcome is not Outcome.SUCCEEDED:
        yield f"its run {found.run.outcome}: {found.run.error}"
    if found.done != campaigns:
        listed = f"{found.run.listed} were listed" if found.pulls else f"{len(pushes)} were pushed"
        yield f"of {counted(campaigns, 'campaign')} {listed} and {found.stored} are stored"
    if found.pulls and pushes:
        yield f"{counted(len(pushes), 'campaign')} {were(len(pushes))} pushed, and none should be"
    if repeated := sum(times > 1 for times in pushes.values()):
        yield f"{counted(repeated, 'campaign')} {were(repeated)} pushed more than once"
    if found.refused:
        yield f"{counted(found.refused, 'request')} {were(found.refused)} refused for quota"
    if not found.traced:
        yield "the trace of its run did not arrive"
