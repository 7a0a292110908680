"""Decides from counts whether a listing may mark missing campaigns as deleted.

A campaign is deleted when two complete listings in a row miss it. A listing that misses more than half of the campaigns
is more likely a fault of the platform than the client's intention, and counts only if the listing before agrees.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """How many campaigns a complete listing misses.

    `live`: campaigns that were not marked deleted when the listing began; the last complete listing missed `before` of
    them. `now`: how many of them this listing misses; the last one missed `again` of those, too.
    """

    live: int
    before: int
    now: int
    again: int

    @property
    def collapsed(self) -> bool:
        """Whether more than half are missing and the listing before does not agree.

        It agrees if no campaign that it missed came back, and at most half of the campaigns that it had are missing.
        """
        agrees = self.again == self.before and not _most(self.now - self.again, self.live - self.before)
        return _most(self.now, self.live) and not agrees


def _most(some: int, of: int) -> bool:
    return 2 * some > of
