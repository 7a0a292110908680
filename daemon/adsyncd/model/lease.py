"""A tenant's lease, as it is on record."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """That `owner` is at work on a tenant, or nobody if that is empty.

    `fence` grows with each change of hands, `beat` while the owner lives. An owner's id begins with words for people,
    up to a semicolon.
    """

    tenant: str
    owner: str
    fence: int
    beat: int
