"""Why a request waits before it may be sent."""

from enum import StrEnum


class WaitReason(StrEnum):
    """Why a request waits, in words for an operator."""

    QUOTA = "quota"
    PLATFORM_QUOTA = "platform quota"
    RETRY_AFTER = "Retry-After"
    FEEDBACK = "limits that the platform states"
    BREAKER = "circuit breaker"
    BACKOFF = "backoff"
    RETRY_BUDGET = "retry budget"
    CREDENTIALS = "credentials"
    RESOURCES = "resources of this machine"
