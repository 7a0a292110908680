"""The errors that cross layers, each with its policy.

    AdsyncdError
    ├── ConfigError          invalid settings or drop-ins; carries every problem
    ├── CredentialsError     a tenant's credentials can't be read
    │   ├── CredentialsMissing    missing or malformed: an operator must fix it
    │   └── CredentialsUnavailable  their source is down, sealed or slow: wait and retry
    ├── PlatformError        a request to the platform failed
    │   ├── Unavailable      no answer, or one that says "later": retry
    │   ├── BadAnswer        an answer outside the API, perhaps a proxy's: retry
    │   │   ├── ProfileMismatch  a path of the profile leads to nothing in it: give up
    │   │   └── Unconfirmed      the same for a push, which may have taken effect: no retry in this run
    │   ├── Unauthorized     a fresh token was refused: retry with the current token, but not a push
    │   ├── SignInRefused    the credentials were refused: give up
    │   ├── Throttled        429: the gate is closed for as long as the platform says; costs no attempt
    │   ├── WaitTooLong      the next permit comes after the run's deadline, or never: give up
    │   └── Rejected         a 4xx that a retry won't fix: give up
    ├── OutOfResources       this machine can't open a connection: wait; costs no attempt
    ├── Stopping             adsyncd is stopping: resume at the next start
    ├── RunCancelled         a run ends before its time: for good, or resumed by the next one
    ├── CommandRefused       a command can't be executed in the current state
    │   ├── NoSuchTenant     unknown tenant
    │   └── NoSuchRun        unknown run
    ├── NoDaemon             no daemon answers a command: start it
    ├── DaemonBusy           the daemon does not answer a command in time: retry, see its log
    ├── ListingError         the pages are no consistent listing: give up
    ├── LeaseHeld            another process works on the tenant: skip
    └── StoreError           the database can't be used
        ├── RunEnded         the run to start has ended already
        └── LeaseLost        another process has taken over the tenant

No error text contains a credential, a token or a body of the platform.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

_MOST_NAMES, _LONGEST_NAME = 8, 40


class Retry(Enum):
    """The retry policy of an error."""

    AGAIN = "again"
    WAIT = "wait as told"
    NEVER = "give up"


class AdsyncdError(Exception):
    """Base of all errors that adsyncd raises on purpose. `str()` is safe to show to an operator."""

    retry: ClassVar[Retry] = Retry.NEVER


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in one file: its place, what is wrong, and the fix."""

    path: Path | None
    line: int | None
    key: str | None
    what: str
    fix: str

    def __str__(self) -> str:
        """Return `file:line: key: what; fix`, without the unknown parts."""
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        head = ": ".join(part for part in (place, self.key) if part)
        text = f"{self.what}; {self.fix}" if self.fix else self.what
        return f"{head}: {text}" if head else text


class ConfigError(AdsyncdError):
    """Invalid settings or drop-ins. `problems` lists every problem, by file and line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class CredentialsError(AdsyncdError):
    """A tenant's credentials can't be read. `state` is the state of Vault if that is the cause."""

    def __init__(self, message: str, state: str = "") -> None:
        super().__init__(message)
        self.state = state


class CredentialsMissing(CredentialsError):
    """The secret is missing, forbidden, or lacks one of the values that the platform's profile needs."""


class CredentialsUnavailable(CredentialsError):
    """The source of the credentials is down, sealed or too slow."""

    retry = Retry.AGAIN


class PlatformError(AdsyncdError):
    """A request to the platform failed. `attempts` is the number of requests made."""

    attempts: int = 1


class Unavailable(PlatformError):
    """No connection, no answer in time, a 5xx or a 4xx that says "later". `after_s`: the wait that it asks for."""

    retry = Retry.AGAIN

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class BadAnswer(PlatformError):
    """An answer outside the API: too big, not JSON, wrong types, a redirect."""

    retry = Retry.AGAIN


class ProfileMismatch(BadAnswer):
    """An answer is JSON, but a path of the profile leads to nothing in it.

    `level`: the deepest part of the path that is there, "" for the answer itself; `names`: the keys that it has. They
    are the platform's own words, which `with_names` checks.
    """

    retry = Retry.NEVER

    def __init__(self, message: str, level: str = "", names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.level = level
        self.names = tuple(names)

    def with_names(self, shown: Callable[[str], str]) -> "ProfileMismatch":
        """Return the error with the first names, as far as `shown` returns them."""
        first = [name[:_LONGEST_NAME] for name in self.names[:_MOST_NAMES]]
        names = shown(", ".join(first))
        beside = f"; {self.level or 'it'} has {names or 'no keys that may be shown'}" if first else ""
        return ProfileMismatch(f"{self}{beside}", self.level, self.names)


class Unconfirmed(BadAnswer):
    """A push got a 2xx or 3xx that does not confirm it: it denies the push, is unreadable, or redirects.

    The push may have taken effect. On a server without idempotency keys a retry would take effect again.
    """

    retry = Retry.NEVER


class Unauthorized(PlatformError):
    """The platform answered 401 to a token that it just issued, or that it accepts for other requests."""

    retry = Retry.AGAIN


class SignInRefused(PlatformError):
    """The platform refused the credentials."""


class Throttled(PlatformError):
    """The platform refused for a limit's sake: by 429, or as its dialect says.

    By now the gate is closed for as long as it asked, so sending again waits.
    """

    retry = Retry.WAIT


class WaitTooLong(PlatformError):
    """No request may be sent before the run's deadline, or it costs more than its quota, so the wait does not start."""


class Rejected(PlatformError):
    """The platform refused the request for a reason that a retry won't fix."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OutOfResources(AdsyncdError):
    """This process or machine can't open a connection: no file descriptor, for example. The message has the fix."""

    retry = Retry.WAIT


class Stopping(AdsyncdError):
    """adsyncd is stopping and starts nothing new. The next start resumes interrupted runs."""


class RunCancelled(AdsyncdError):
    """A run is to end before its time. `resumable`: it stays open, and the tenant's next run resumes it."""

    def __init__(self, message: str, *, resumable: bool) -> None:
        super().__init__(message)
        self.resumable = resumable


class CommandRefused(AdsyncdError):
    """A command can't be executed in the current state: `what` is the reason, `fix` the way out."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what = what
        self.fix = fix


class NoSuchTenant(CommandRefused):
    """No tenant has the given id."""


class NoSuchRun(CommandRefused):
    """The tenant has no run of the given id, or none that is still kept."""


class NoDaemon(AdsyncdError):
    """No daemon answers, or another server does."""


class DaemonBusy(AdsyncdError):
    """A daemon listens but does not answer in time: it is busy, starting or stalled."""


class ListingError(AdsyncdError):
    """The pages are no consistent listing: a page repeats, or `has_more` never ends."""


class LeaseHeld(AdsyncdError):
    """Another live process works on the tenant. The message names it, and the fix."""


class StoreError(AdsyncdError):
    """The database can't be opened, read or written. The message names it and the cause, without its password."""


class RunEnded(StoreError):
    """The run to start has ended already, by a write that seemed to fail or by another process."""


class LeaseLost(StoreError):
    """Another process has taken over the tenant; this process can't record its run any more."""
