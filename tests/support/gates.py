"""Gates for tests, with a ledger in memory."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from adsyncd.clock import Clock
from adsyncd.rate import Gate, Governor
from adsyncd.rate.account import Account
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Quota


class MemoryLedger:
    """Keeps the last record of each permit, and lets several processes have them as the store does."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, int, int], PermitRecord] = {}
        self.shapes: list[ShapeRecord] = []

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        if all(self._may(claim) for claim in claims):
            self.records |= {_key(claim.record): claim.record for claim in claims}
            return ()
        whose = {(claim.record.platform, claim.record.client_id) for claim in claims}
        return tuple(record for key, record in self.records.items() if key[:2] in whose)

    def note_permits(self, claims: Sequence[Claim]) -> None:
        self.records |= {_key(claim.record): claim.record for claim in claims if self._may(claim)}

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        for record in records:
            if self.records.get(_key(record)) == record:
                del self.records[_key(record)]

    def note_shape(self, record: ShapeRecord) -> None:
        self.shapes.append(record)

    def _may(self, claim: Claim) -> bool:
        known, wanted = self.records.get(_key(claim.record)), claim.record
        if known is None or known.owner == wanted.owner or known == claim.seen:
            return True
        return known.boot_id == wanted.boot_id and known.free_at <= claim.at


def _key(record: PermitRecord) -> tuple[str, str, int, int]:
    return record.platform, record.client_id, record.window_ms, record.number


def a_gate(
    quota: Quota,
    clock: Clock,
    ledger: MemoryLedger | None = None,
    records: Iterable[PermitRecord] = (),
    owner: str = "this process",
) -> Gate:
    return Gate(
        Account("mixo", "acme", quota, records, clock, owner, timedelta(seconds=10)), clock, ledger or MemoryLedger()
    )


def a_governor(clock: Clock, ledger: MemoryLedger | None = None, owner: str = "this process") -> Governor:
    ledger = ledger or MemoryLedger()
    return Governor(clock, ledger, owner, ledger.records.values(), ledger.shapes)
