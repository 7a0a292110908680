"""A platform's API as plain values: config reads profiles into these, and no platform needs code of its own.

Texts may hold placeholders, and nothing is computed beyond them: `{account}` is the tenant's client id, `{page_size}`
its `sync.page_size`, `{id}` the id of a campaign to push, `{var.NAME}` a value of the drop-in's `vars`, `{secret.NAME}`
one of its credentials. A secret may stand in headers and in the body of a sign-in only, so no address holds one.

A path leads through JSON: names joined by dots.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property

from adsyncd.rate.dialect import STANDARD, Dialect, Rule

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\}")
SECRET = "secret."  # noqa: S105 - how the names of such placeholders begin

Texts = tuple[tuple[str, str], ...]
"""Names, each with its text, such as header fields."""


class Means(StrEnum):
    """What an answer means if its status does not tell.

    `THROTTLED`: a limit refused the request. `SIGN_IN`: the token was refused. `LATER`: try again. `REFUSED`: a retry
    won't help.
    """

    THROTTLED = "throttled"
    SIGN_IN = "sign-in"
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer that a rule matches means."""

    means: Means
    rule: Rule


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that does not expire: the credentials' `secret`."""

    secret: str


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request that brings a token. `url`: a path of the platform, or an address of another host.

    `basic`: the secrets that are user and password. `form`, `json`: the body; JSON as text. In the answer, `token`,
    `expires_in` (seconds) and `expires_at` (an instant) are paths. `life` counts if the answer states neither; without
    any of the three a token is used until it is refused.
    """

    method: str
    url: str
    basic: tuple[str, str] | None = None
    form: Texts | None = None
    json: str | None = None
    headers: Texts = ()
    token: str = "access_token"  # noqa: S105 - a path
    expires_in: str | None = None
    expires_at: str | None = None
    life: timedelta | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the request sends."""
        texts = [*(text for _, text in (*(self.form or ()), *self.headers)), self.json or ""]
        return tuple(dict.fromkeys([*(self.basic or ()), *secrets_in(texts)]))


SignIn = StaticToken | TokenRequest


class PagingKind(StrEnum):
    """How the next page is asked for. A `LINK` is an address, a `CURSOR` a parameter, both from the last page."""

    NONE = "none"
    NUMBER = "number"
    OFFSET = "offset"
    CURSOR = "cursor"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Paging:
    """How pages follow each other.

    `param` and `size` name the parameters for the page's number, offset or cursor and for its size, in the query or, if
    `in_body`, in the JSON body; None if there is none. `first`: the number of the first page. `next`, `has_more` and
    `total` are paths: to the cursor or link, to whether more follows, and to the number of all campaigns.
    """

    kind: PagingKind = PagingKind.NONE
    param: str | None = None
    size: str | None = None
    in_body: bool = False
    first: int = 1
    next: str | None = None
    has_more: str | None = None
    total: str | None = None

    @property
    def is_numbered(self) -> bool:
        """Whether page N can be asked for without page N - 1."""
        return self.kind in {PagingKind.NONE, PagingKind.NUMBER}


@dataclass(frozen=True, slots=True)
class Listing:
    """The request for a page of campaigns.

    `records`: the path to the array, "" for the body itself; `absent_is_empty`: a platform leaves it out if it is
    empty. `page_size`: the smallest and the largest that the platform accepts. `cost`: the permits that a request
    takes. `json`: the body as text.
    """

    method: str
    path: str
    records: str
    params: Texts = ()
    json: str | None = None
    absent_is_empty: bool = False
    page_size: tuple[int, int] = (1, 1000)
    cost: int = 1
    paging: Paging = Paging()


class Times(StrEnum):
    """The unit of instants that are numbers since the epoch; `TEXT`: the instant is written out."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Where a record has the value of a `column`: the first of `paths` that leads to one.

    A number is multiplied by `scale`. `time`: how an instant is written; None if that shows.
    """

    column: str
    paths: tuple[str, ...]
    scale: float = 1.0
    time: Times | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """The request that asks the platform to sync a campaign. `json`: its body as text.

    `idempotency_header` carries the idempotency key. In a success, the value at `confirms` is the campaign's id, and
    `succeeded` matches; a success may leave out either. `cost`: the permits that a request takes.
    """

    method: str
    path: str
    json: str | None = None
    idempotency_header: str | None = None
    succeeded: Rule | None = None
    confirms: str | None = None
    cost: int = 1


@dataclass(frozen=True)  # without slots, where a cached property has no place
class Profile:
    """A platform's API.

    `base_url`: its address, None if that differs between users. `fields`: where records have their values, the id
    first. `volatile`: paths to values that change constantly and are no content. `headers` go with each request but a
    sign-in, and the token in `token_header`, after `token_scheme`. `expect` matches each success. `push`: None if the
    platform takes none. `dialect`: how it states its limits. `vars`: what drop-ins have to name.
    """

    name: str
    sign_in: SignIn
    listing: Listing
    fields: tuple[FieldPlace, ...]
    base_url: str | None = None
    volatile: tuple[str, ...] = ()
    headers: Texts = ()
    token_header: str = "authorization"  # noqa: S105 - the name of a header field
    token_scheme: str = "Bearer"  # noqa: S105 - the name of a scheme
    expect: Rule | None = None
    answers: tuple[Answer, ...] = ()
    push: Push | None = None
    dialect: Dialect = STANDARD
    vars: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A name for exactly this content."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @cached_property
    def signing_in(self) -> object:
        """What it says of the sign-in and of the headers of each request, as `stated` does."""
        return stated(self.sign_in), self.token_header, self.token_scheme, self.headers

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The names of all secrets that credentials must have."""
        of_sign_in = self.sign_in.secrets if isinstance(self.sign_in, TokenRequest) else ()
        return tuple(dict.fromkeys([*of_sign_in, *self.secrets_in_headers]))

    @cached_property
    def secrets_in_headers(self) -> tuple[str, ...]:
        """The names of the secrets that header fields hold as they are."""
        texts = [text for _, text in self.headers]
        if isinstance(self.sign_in, StaticToken):
            return tuple(dict.fromkeys([self.sign_in.secret, *secrets_in(texts)]))
        texts += [text for _, text in self.sign_in.headers]
        return tuple(dict.fromkeys(secrets_in(texts)))

    @property
    def basic(self) -> tuple[str, ...]:
        """The names of the user and the password for HTTP's Basic authentication, if the sign-in uses that."""
        return self.sign_in.basic or () if isinstance(self.sign_in, TokenRequest) else ()


def stated(value: object) -> object:
    """Return a dataclass as its name and fields, without those that have their default: later versions add some."""
    if not is_dataclass(value):
        return value
    named = [(one.name, getattr(value, one.name), one.default) for one in fields(value)]
    return type(value).__name__, *((name, stated(part)) for name, part, default in named if part != default)


def placeholders(text: str) -> list[str]:
    """Return the names of the placeholders in a text."""
    return PLACEHOLDER.findall(text)


def secrets_in(texts: Iterable[str]) -> Iterator[str]:
    """Yield the names of the secrets that texts hold."""
    for text in texts:
        yield from (name.removeprefix(SECRET) for name in placeholders(text) if name.startswith(SECRET))
