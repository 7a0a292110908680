"""A call: the one value that travels with a request, from the client to the connection and back with the answer.

It is the only extension that adsyncd adds to a request for itself. (`trace` is httpx's.)
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

import httpx

from adsyncd.model.profile import Means
from adsyncd.platforms.session import Token
from adsyncd.rate import Priority
from adsyncd.rate.feedback import NOTHING, Said
from adsyncd.telemetry import CALL


class Kind(Enum):
    """What a request asks the platform for."""

    SIGN_IN = auto()
    LISTING = auto()
    PUSH = auto()


class Authority(Protocol):
    """Gives requests their tokens."""

    async def authorized(self) -> None:
        """Return once a good token is at hand; signing in may take long."""

    def authorize(self, request: httpx.Request) -> bool:
        """Put the token at hand into a request. Return False if there is no good one."""

    async def keep_authorized(self) -> None:
        """Keep a good token at hand, until cancelled or until a sign-in fails."""


@dataclass(slots=True, eq=False)
class Call:
    """Everything about a request that HTTP has no field for. The request's retries share it.

    Instants are monotonic, in seconds. `sendings`, `token`, `authorized_at`, `written_at`, `said`, `means` and `data`
    are those of the latest sending.
    """

    kind: Kind
    priority: Priority = Priority.PUSH  # its line in front of the gate
    authority: Authority | None = None  # None for a sign-in
    cost: int = 1  # the permits of each window that it takes
    template: str = ""  # the path of its URL as the profile has it, with placeholders: see `templates.route`
    sendings: int = 0  # how often the request was sent, for whatever reason
    token: Token | None = None
    authorized_at: float = 0.0  # when the request got its token
    renewed: bool = False  # after a 401 the request got another token, which happens once
    written_at: float | None = None  # when the request was fully written; None if that is unknown
    said: Said = NOTHING  # what the answer says of limits
    means: Means | None = None  # what the answer means by the profile's rules; None if its status tells
    data: object = field(default=None, repr=False)  # the answer's JSON, or the BadAnswer that it makes; rarely a page's

    @property
    def metered(self) -> bool:
        """Whether the platform counts the request."""
        return self.kind is not Kind.SIGN_IN

    @staticmethod
    def of(message: httpx.Request | httpx.Response) -> "Call":
        """Return the call of a request, or of the answer to it."""
        call: Call = message.extensions[CALL]
        return call
