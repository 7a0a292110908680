"""Keeps requests within what a platform allows, exactly and fairly, over several processes and after a kill -9.

A platform allows a client id N requests in a window and answers 429 beyond that. The client cannot see when the server
counts a request: only when it left and when the response came. So a permit returns a whole window after the *response*;
then no window of the server's holds more than N, however it counts.

    waiting ──grant──► granted ──put_on_record──► recorded ──send──► sent ──cool──► cooling ──window + guard──► free
       ▲                  │                          │                 │
       │                  └───────── refund ─────────┘                 └─ a response, a timeout or a cancellation:
       └── refund: not on record in time, or another process           whatever may have left stays charged
           has it; the request comes `again`, at the head of its line

Where a platform meters by operation, a request takes several permits of each window (`acquire(cost=3)`): all at one
instant, in the order of its line. Where the quota is large, one write records a block of permits, and later requests
wait for none (`hand`).

The records are the memory: a killed process leaves its permits cooling, and two processes never hold the same one.

    governor = Governor(clock, ledger, owner="this process", records=records_of_the_ledger)
    gate = governor.gate(ClientQuota("mixo", "acme", Quota(100, timedelta(minutes=1)), None, 1, timedelta(seconds=10)))
    permit = await gate.acquire()                   # in line: first come, first served
    if await permit.put_on_record(timeout_s=10.0):  # else acquire(again=True)
        await send()                                # then permit.cool(); permit.refund() if it never left

Read on: `quota` (what is allowed), `bucket` (one window), `limiter` (all windows of a quota, and the one list of what
blocks a grant), `gate` (the lines), `platform_pool` (a quota that client ids share), `account` (the records), `hand`
(permits that are on record ahead), `pacing` (bursts or even spacing), `feedback` (what responses state), `breaker` (a
host that is down), `retry`. It needs nothing of adsyncd but `clock`, `errors` and `duration`.
"""

from typing import TYPE_CHECKING

from adsyncd import lazily

if TYPE_CHECKING:
    from adsyncd.rate.gate import Gate, OnWait, Priority
    from adsyncd.rate.governor import Governor
    from adsyncd.rate.ledger import PermitLedger
    from adsyncd.rate.permit import Permit

__all__ = ["Gate", "Governor", "OnWait", "Permit", "PermitLedger", "Priority"]

__getattr__ = lazily(
    __name__,
    {
        "Gate": "gate",
        "Governor": "governor",
        "OnWait": "gate",
        "Permit": "permit",
        "PermitLedger": "ledger",
        "Priority": "gate",
    },
)
