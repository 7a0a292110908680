"""What the governor needs of the store."""

from collections.abc import Sequence
from typing import Protocol

from adsyncd.rate.permit import Claim, PermitRecord, ShapeRecord


class Ledger(Protocol):
    """Where permits are put on record, for all processes."""

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        """Commit that permits are out, all or none; return what is on record if another process has one of them."""

    def note_permits(self, claims: Sequence[Claim]) -> None:
        """Record soon when permits are free that were claimed. It may be left out: they are on record for longer."""

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        """Remove records soon, but for those that have changed since."""

    def note_shape(self, record: ShapeRecord) -> None:
        """Record soon what was found out of a platform's counting."""
