"""The records of permits, and the ledger that keeps them for all processes and for the one after a restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adsyncd.rate.quota import Shape


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """Permit `number` of a window, out with a request and not free before `free_at`.

    `free_at`: seconds since the machine's boot `boot_id`, a line on which no clock can be set. `window_ms`: the
    window's length. `owner`: the process that has or last had it. An empty `client_id` means the platform's own quota.
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
    """A request for a permit. It is granted if there is no record of the permit, its own one, or one past by `at`.

    `at`: seconds since the boot of `record`. A record of another boot has no known end: it counts as past if it is
    still as it was `seen`, as long ago as a request may take plus a whole window.
    """

    record: PermitRecord
    at: float
    seen: PermitRecord | None = None


@dataclass(frozen=True, slots=True)
class ShapeRecord:
    """How a platform counts a client id's requests, as found out under the quota that `quota` describes.

    `strict`: the arrival bound of the quota does not hold.
    """

    platform: str
    client_id: str
    quota: str
    shape: Shape
    strict: bool
    since: datetime


class PermitLedger(Protocol):
    """Keeps the records of permits for all processes."""

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        """Commit permits as out, all or none. Returns the records of their client ids if another process has one."""

    async def read_permits(self, platform: str, client_id: str) -> Sequence[PermitRecord]:
        """Return the records of a client id, or of a platform's own quota if that is empty."""

    def note_permits(self, claims: Sequence[Claim]) -> None:
        """Record soon when claimed permits are free. It may fail: their records end later."""

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        """Remove records soon, except those that have changed since."""

    def note_shape(self, record: ShapeRecord) -> None:
        """Record soon how a platform counts."""
