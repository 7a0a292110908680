"""The errors that cross layers, each with what may be done about it.

    AdsyncdError
    ├── ConfigError          settings or drop-ins are wrong; carries every problem found
    ├── CredentialsError     a tenant's credentials can't be had
    │   ├── CredentialsMissing    the reference leads nowhere, or to something malformed: an operator fixes it
    │   └── CredentialsUnavailable  the place that keeps them is down, sealed or slow: wait and try again
    ├── PlatformError        the platform did not do what was asked
    │   ├── Unavailable      no answer, or one that says "later": try again
    │   ├── BadAnswer        an answer that is not the API: try again, it may be a proxy's
    │   │   └── Unconfirmed      one to a push, which may have taken effect: not again in this run
    │   ├── Unauthorized     a fresh token was refused: try again with the token at hand, but not a push
    │   ├── SignInRefused    the credentials themselves were refused: give up
    │   ├── Throttled        429: the gate is closed for as long as the platform says; costs no attempt
    │   ├── WaitTooLong      the next permit comes after the run's deadline: give up
    │   └── Rejected         a 4xx that a retry won't fix: give up
    ├── OutOfResources       this machine lacks what a connection takes: wait; costs no attempt
    ├── Stopping             adsyncd itself is about to stop: leave it for the next start
    ├── CommandRefused       an operator asks for what can't be done as things stand
    │   └── NoSuchTenant     there is none of that name
    ├── NoDaemon             no daemon answers a command: start it
    ├── DaemonBusy           the daemon does not answer a command in time: try again, see its log
    ├── ListingError         the pages do not add up to a listing: give up
    ├── LeaseHeld            another process is at work on the tenant: leave it to that one
    └── StoreError           the database can't be used
        ├── RunEnded         the run that was to begin has ended already
        └── LeaseLost        another process has taken over the tenant

No error's text ever holds a credential, a token or a body of the platform's.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar


class Retry(Enum):
    """What may be done about an error."""

    AGAIN = "again"
    WAIT = "wait as told"
    NEVER = "give up"


class AdsyncdError(Exception):
    """Root of everything that adsyncd raises on purpose. `str()` is fit to be shown to an operator."""

    retry: ClassVar[Retry] = Retry.NEVER


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file: where it is, what is wrong, and what would be right."""

    path: Path | None
    line: int | None
    key: str | None
    what: str
    fix: str

    def __str__(self) -> str:
        """Return `file:line: key: what; fix`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        head = ": ".join(part for part in (place, self.key) if part)
        text = f"{self.what}; {self.fix}" if self.fix else self.what
        return f"{head}: {text}" if head else text


class ConfigError(AdsyncdError):
    """Settings or drop-ins are wrong. `problems` lists all of it, in file and line order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class CredentialsError(AdsyncdError):
    """A tenant's credentials can't be had. `state`: what is the matter with Vault, in a word or two, if it is that."""

    def __init__(self, message: str, state: str = "") -> None:
        super().__init__(message)
        self.state = state


class CredentialsMissing(CredentialsError):
    """The reference leads nowhere, is not allowed, or leads to something without email and password."""


class CredentialsUnavailable(CredentialsError):
    """The place that keeps the credentials is down, sealed or too slow."""

    retry = Retry.AGAIN


class PlatformError(AdsyncdError):
    """The platform did not do what was asked. `attempts`: after how many requests that was given up."""

    attempts: int = 1


class Unavailable(PlatformError):
    """No connection, no answer in time, a 5xx or a 4xx that says "later". `after_s`: in how many seconds, if told."""

    retry = Retry.AGAIN

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class BadAnswer(PlatformError):
    """An answer that is not the API: too big, not JSON, wrong types, a redirect."""

    retry = Retry.AGAIN


class Unconfirmed(BadAnswer):
    """A push was answered with a 2xx or 3xx that is no yes: it denies the push, can't be read, or leads elsewhere.

    The push may have taken effect, and on a server without idempotency keys it would take effect again.
    """

    retry = Retry.NEVER


class Unauthorized(PlatformError):
    """The platform answered 401 to a token that it has just issued, or that it takes for other requests."""

    retry = Retry.AGAIN


class SignInRefused(PlatformError):
    """The platform refused the credentials themselves."""


class Throttled(PlatformError):
    """The platform refused for a limit's sake: by 429, or as its dialect says.

    By now the gate is closed for as long as it asked, so sending again waits.
    """

    retry = Retry.WAIT


class WaitTooLong(PlatformError):
    """No request may be sent before the run's deadline: a wait that outlasts the run is not begun."""


class Rejected(PlatformError):
    """The platform refused the request for a reason that sending it again won't fix."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OutOfResources(AdsyncdError):
    """This process, or its machine, lacks what a connection takes, as a file descriptor. The message has the fix."""

    retry = Retry.WAIT


class Stopping(AdsyncdError):
    """Nothing new is begun, since adsyncd is about to stop. What is left undone is resumed at the next start."""


class CommandRefused(AdsyncdError):
    """What an operator asks for can't be done as things stand: `what` is in the way, and `fix` what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what = what
        self.fix = fix


class NoSuchTenant(CommandRefused):
    """No tenant has the name that an operator gave."""


class NoDaemon(AdsyncdError):
    """There is no daemon to ask, or something else answers in its place."""


class DaemonBusy(AdsyncdError):
    """Somebody listens, but does not answer in time: a daemon that is busy, about to start, or stalls."""


class ListingError(AdsyncdError):
    """The pages do not add up to a listing: one repeats, or `has_more` never ends."""


class LeaseHeld(AdsyncdError):
    """Another process is at work on the tenant, and alive. The message says which one, and what to do."""


class StoreError(AdsyncdError):
    """The database can't be opened, read or written. The message names it and the cause, without its password."""


class RunEnded(StoreError):
    """The run that was to begin has ended already, by a write that seemed to have failed or by another process."""


class LeaseLost(StoreError):
    """Another process has taken over the tenant: what this one still has to record of its run is refused."""
