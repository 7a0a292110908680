"""The governor: what keeps requests within what a platform allows, and shares that fairly."""

from adsyncd.governor.costs import costs
from adsyncd.governor.gate import Gate, OnWait, Permit, Priority
from adsyncd.governor.governor import Governor
from adsyncd.governor.ledger import Ledger

__all__ = ["Gate", "Governor", "Ledger", "OnWait", "Permit", "Priority", "costs"]
