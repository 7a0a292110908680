"""When a campaign that is missing from listings is taken for deleted: decided from counts.

A campaign is deleted when two complete listings in a row miss it. A listing that misses more than half of the campaigns
is more likely the platform's trouble than the client's wish, and is believed only if the one before agrees.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """How many campaigns a complete listing misses.

    `live`: those that were not marked deleted when it began, of which the last complete listing missed `before`.
    `now`: those of them that this one misses, of which the last one missed `again`.
    """

    live: int
    before: int
    now: int
    again: int

    @property
    def collapsed(self) -> bool:
        """Whether more than half are missing and the listing before does not agree.

        That one agrees if none that it missed came back, and no more than half of those that it had are missing.
        """
        agrees = self.again == self.before and not _most(self.now - self.again, self.live - self.before)
        return _most(self.now, self.live) and not agrees


def _most(some: int, of: int) -> bool:
    return 2 * some > of
