"""The governor: what keeps requests within what a platform allows, and shares that fairly."""

from adsyncd.rate.costs import costs
from adsyncd.rate.gate import Gate, OnWait, Priority
from adsyncd.rate.governor import Governor
from adsyncd.rate.ledger import PermitLedger
from adsyncd.rate.permit import Permit

__all__ = ["Gate", "Governor", "OnWait", "Permit", "PermitLedger", "Priority", "costs"]
