"""How a platform counts one client id's requests, learned from responses: remembered, applied and logged once."""

import structlog

from adsyncd.clock import Clock
from adsyncd.rate.account import Account
from adsyncd.rate.ledger import PermitLedger, ShapeRecord
from adsyncd.rate.pacing import Evidence
from adsyncd.rate.quota import Quota, Shape

_log = structlog.stdlib.get_logger(__name__)

_NEWS = {
    Shape.PACED: "the platform accepts only spaced requests: they stay spaced",
    Shape.BURST: "spacing prevents no refusals: requests are no longer spaced",
}


class Learned:
    """The findings about an account's quota. `known`: findings of an earlier process, ignored if of another quota.

    `strict`: the arrival bound of the quota does not hold.
    """

    def __init__(self, account: Account, ledger: PermitLedger, clock: Clock, known: ShapeRecord | None = None) -> None:
        self._account = account
        self._ledger = ledger
        self._clock = clock
        quota = account.quota
        known = known if known and known.quota == _text(quota) else None
        self.strict = known is not None and known.strict
        self._evidence = Evidence(quota.per.total_seconds(), known.shape if known else Shape.BURST)
        self._put_to_use()

    def answered(self, now: float, *, refused: bool, waiting: bool) -> None:
        """Learn from a response: whether it is a refusal, and whether other requests wait for quota."""
        quota, evidence = self._account.quota, self._evidence
        if refused and not self.strict and quota.arrival_bound is not None:
            self.strict = True
            self._tell("the arrival bound does not hold: it is no longer used")
        if quota.shape is Shape.AUTO:
            shape, learned = evidence.shape, evidence.learned
            evidence.answered(now, refused=refused, waiting=waiting)
            if evidence.shape is not shape:
                self._put_to_use()
            if evidence.learned is not learned:
                self._tell(_NEWS[evidence.learned])

    def _put_to_use(self) -> None:
        asked = self._account.quota.shape
        self._account.limiter.pace(paced=(self._evidence.shape if asked is Shape.AUTO else asked) is Shape.PACED)

    def _tell(self, what: str) -> None:
        account, learned = self._account, self._evidence.learned
        _log.warning(what, platform=account.platform, client_id=account.client_id)
        self._ledger.note_shape(
            ShapeRecord(
                account.platform, account.client_id, _text(account.quota), learned, self.strict, self._clock.now()
            )
        )


def _text(quota: Quota) -> str:
    windows = ", ".join(f"{window.requests}/{window.per.total_seconds():g}s" for window in quota.windows)
    return windows if quota.arrival_bound is None else f"{windows}, {quota.arrival_bound.total_seconds():g}s"
