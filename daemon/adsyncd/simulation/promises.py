"""What must hold in every world, and how a world breaks it."""

from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """What must hold; the values are printed with violations."""

    QUOTA = "no client id gets more than its quota, as the platform counts it"
    JOURNALED = "nothing is pushed that the store does not know to be owed"
    ONCE = "each push takes effect once"
    KEPT = "no push that a run calls done is lost"
    RECONCILED = "the counts of a run are those of its campaigns"
    COMPLETE = "a run that succeeded pushed every campaign that was there"
    DELETED = "what is marked deleted is gone at the platform, or two of its listings in a row left it out"
    READ = "an odd campaign costs itself alone"
    TOKENS = "no token is used for two tenants"
    PRIVATE = "no secret is in an address or in the database"
    PULLED = "a tenant that only pulls has its campaigns stored, and nothing is sent for them"
    ENDS = "no listing goes round in circles"
    PROGRESS = "no tenant starves"
    ISOLATION = "a healthy tenant's runs are as if it were alone"
    DRAINED = "when all is well again, everything comes to its end"
    SOUND = "nothing breaks down"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant and its time, in seconds from the start."""

    invariant: Invariant
    at_s: float
    what: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.at_s:.3f} s: {self.what} (broken: {self.invariant})"
