"""The governor: what keeps requests within what a platform allows, and shares that fairly."""

from adsyncd.governor.gate import Gate, Ledger, OnWait, Permit, Priority
from adsyncd.governor.governor import Governor

__all__ = ["Gate", "Governor", "Ledger", "OnWait", "Permit", "Priority"]
