"""Which tenants an operator means."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Show(StrEnum):
    """The kinds of tenants that a list can have. A tenant may be of several."""

    ALL = "all"
    FAILING = "failing"
    LATE = "late"
    PARTIAL = "partial"
    WAITING = "waiting"
    RUNNING = "running"
    NEAR_QUOTA = "near-quota"
    PAUSED = "paused"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Selection:
    """The tenants that satisfy each of these conditions.

    `kinds`: it is of one of these kinds; empty: of any. `platform`: its platform's name. `match`: its id matches this
    pattern of a shell, such as `shop-*`. `q`: its id or its client id contains this text.
    """

    kinds: frozenset[Show] = frozenset()
    platform: str | None = None
    match: str | None = None
    q: str | None = None

    @property
    def everything(self) -> bool:
        """Whether there is no condition."""
        return self.kinds <= {Show.ALL} and self.platform is None and self.match is None and not self.q

    def query(self) -> Iterator[tuple[str, str]]:
        """Yield the conditions as query parameters of the control API."""
        if self.kinds:
            yield "state", ",".join(sorted(self.kinds))
        for name in ("platform", "match", "q"):
            if value := getattr(self, name):
                yield name, value

    def in_words(self) -> str:
        """Return what its tenants have besides their kinds: `the platform "mixo" and an id that matches "shop-*"`."""
        words = [f'the platform "{self.platform}"'] if self.platform else []
        words += [f'an id that matches "{self.match}"'] if self.match else []
        words += [f'an id or client id with "{self.q}"'] if self.q else []
        return " and ".join(words)


EVERYTHING = Selection()
