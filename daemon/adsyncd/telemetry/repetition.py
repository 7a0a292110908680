"""Decides when a thing that repeats is worth a line of the log again: when its reason changes, then once an hour."""

import re
from collections.abc import Awaitable, Callable

import anyio
from structlog.stdlib import BoundLogger

from adsyncd.errors import StoreError

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


async def again_and_again(do: Callable[[], Awaitable[None]], every_s: float, log: BoundLogger, failing: str) -> None:
    """Call `do`, and again `every_s` seconds after its end, until cancelled.

    An error ends nothing: it is logged as `failing`, one of the database as a warning, a bug with its traceback.
    """
    said = Repetition()
    while True:
        try:
            await do()
            said.over(failing)
        except StoreError as error:
            tell = log.warning if said.is_news(failing, str(error), anyio.current_time()) else log.debug
            tell(failing, error=str(error))
        except Exception as error:  # noqa: BLE001 - a bug in this must not stop the rest
            tell = log.error if said.is_news(failing, repr(error), anyio.current_time()) else log.debug
            tell(failing, exc_info=True)
        await anyio.sleep(every_s)
