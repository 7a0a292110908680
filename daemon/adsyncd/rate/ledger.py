"""The records of permits, and the ledger that keeps them for all processes and for the one after a restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adsyncd.rate.quota import Shape


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """Permit `number` of a window of a platform's client id was out with a request, and is not free before `free_at`.

    `free_at` is in seconds since the machine's boot `boot_id`, a line on which no clock can be set. `window_ms` is the
    window's length. `owner` is the process that has it out or had it last. An empty `client_id` stands for the
    platform's own quota.
    """

    platform: str
    client_id: str
    window_ms: int
    number: int
    free_at: float
    boot_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """That a process wants a permit out. It is granted if the permit's record is its own, or none, or past by `at`.

    `at` is in seconds since the boot of `record`. Of another boot nobody knows when its records are past: one is taken
    for that if it is still as it was `seen` for as long as a request may take and a whole window.
    """

    record: PermitRecord
    at: float
    seen: PermitRecord | None = None


@dataclass(frozen=True, slots=True)
class ShapeRecord:
    """What was found out of how a platform counts a client id's requests, while its quota was what `quota` says.

    `strict`: the arrival bound that the quota states does not hold.
    """

    platform: str
    client_id: str
    quota: str
    shape: Shape
    strict: bool
    since: datetime


class PermitLedger(Protocol):
    """Where permits are put on record, for all processes."""

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        """Commit that permits are out, all or none; return what is on record if another process has one of them."""

    def note_permits(self, claims: Sequence[Claim]) -> None:
        """Record soon when permits are free that were claimed. It may be left out: they are on record for longer."""

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        """Remove records soon, but for those that have changed since."""

    def note_shape(self, record: ShapeRecord) -> None:
        """Record soon what was found out of a platform's counting."""
