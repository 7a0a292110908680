"""Gates for tests, with a ledger in memory."""

from adsyncd.clock import Clock
from adsyncd.governor import Gate
from adsyncd.permit import PermitRecord
from adsyncd.tenant import Quota


class MemoryLedger:
    """Keeps the last record of each permit."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, int], PermitRecord] = {}

    async def hold_permit(self, record: PermitRecord) -> None:
        self.records[record.platform, record.client_id, record.number] = record


def a_gate(quota: Quota, clock: Clock, ledger: MemoryLedger | None = None) -> Gate:
    return Gate("mixo", "acme", quota, clock, ledger or MemoryLedger())
