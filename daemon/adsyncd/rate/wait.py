"""Why a request waits before it may be sent, and until when."""

from collections.abc import Sequence
from enum import StrEnum
from math import inf
from typing import NamedTuple


class WaitReason(StrEnum):
    """The reason for a wait, in words for an operator."""

    QUOTA = "quota"
    PLATFORM_QUOTA = "platform quota"
    RETRY_AFTER = "Retry-After"
    FEEDBACK = "limits that the platform states"
    BREAKER = "circuit breaker"
    BACKOFF = "backoff"
    RETRY_BUDGET = "retry budget"
    CREDENTIALS = "credentials"
    RESOURCES = "resources of this machine"
    STORE = "database"


class Block(NamedTuple):
    """One thing that keeps a grant back. `until` is a monotonic instant; None if a response must arrive first."""

    reason: WaitReason
    until: float | None


def last_to_end(blocks: Sequence[Block]) -> Block:
    """Return the block that ends last, of one or more. A block without a known end outlasts all others."""
    return max(blocks, key=lambda block: inf if block.until is None else block.until)
