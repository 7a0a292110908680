"""The governor: what keeps requests within what a platform allows, and shares that fairly."""

from adsyncd.rate.costs import costs
from adsyncd.rate.gate import Gate, OnWait, Permit, Priority
from adsyncd.rate.governor import Governor
from adsyncd.rate.ledger import Ledger

__all__ = ["Gate", "Governor", "Ledger", "OnWait", "Permit", "Priority", "costs"]
