"""Decides when a thing that repeats is worth a line of the log again: when its reason changes, then once an hour."""

import re

HOUR_S = 3600.0

# Words with digits: numbers, ids, times. The status of an answer is no such word.
_VARYING = re.compile(r"(?<!answered )(?<!HTTP )(?<![\w-])[\w-]*\d[\w-]*")


def alike(reason: str) -> str:
    """Return the reason without numbers, ids and times, which differ between two times of the same."""
    return _VARYING.sub("#", reason)


class Repetition:
    """Knows what was said of each of its subjects, and when. Times are seconds, of which only differences count."""

    def __init__(self) -> None:
        self._said = dict[str, tuple[str, float]]()

    def is_news(self, subject: str, reason: str, now_s: float, *, hourly: bool = True) -> bool:
        """Return whether to say it, and note that it is said: the reason changed, or an hour has passed since.

        Not `hourly`: it is said when the reason changes, and never again.
        """
        reason, before = alike(reason), self._said.get(subject)
        if before and before[0] == reason and (not hourly or now_s - before[1] < HOUR_S):
            return False
        self._said[subject] = (reason, now_s)
        return True

    def over(self, subject: str) -> None:
        """Note that it has ended: the next time is news."""
        self._said.pop(subject, None)
