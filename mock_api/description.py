"""The description of one more API: the document of a profile, as TOML has it.

The platform serves what the document describes. Keys that matter to a client alone, such as `limits`, are accepted and
not used.
"""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, model_validator

ORBIT = Path(__file__).with_name("orbit.toml")
"""The profile of a made-up API, for those who need another one than the platform's own."""


def orbit() -> dict[str, JsonValue]:
    """Return the document of `ORBIT`, which describes the API to the platform."""
    return tomllib.loads(ORBIT.read_text())


class Means(StrEnum):
    """What an answer means, whatever its status is."""

    THROTTLED = "throttled"
    SIGN_IN = "sign-in"
    LATER = "later"
    REFUSED = "refused"


class PagingKind(StrEnum):
    """What leads from one page to the next."""

    NONE = "none"
    NUMBER = "number"
    OFFSET = "offset"
    CURSOR = "cursor"
    LINK = "link"


class _Table(BaseModel, extra="forbid", frozen=True):
    """A part of the description."""


def _first_number(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str | list) else value


def _paths(value: object) -> object:
    return [value] if isinstance(value, str) else value


Value = Annotated[bool | int | str, BeforeValidator(_first_number)]
"""A value, or the first number of a range."""


class ExpectTable(_Table):
    """What each success has at `path`: the first of `values`."""

    path: str
    values: tuple[Value, ...] = Field(min_length=1)


class AnswerTable(_Table):
    """How the API says what it means: by a status, and the first of `values` at `path`."""

    means: Means
    status: int | None = None
    path: str | None = None
    values: tuple[Value, ...] = ()


class SignInTable(_Table):
    """A token that is a secret itself (`static`), or the request that brings one."""

    static: str | None = None
    method: str = "POST"
    url: str | None = None
    basic: tuple[str, str] | None = None
    form: dict[str, str] | None = None
    json_: dict[str, JsonValue] | None = Field(None, alias="json")
    headers: dict[str, str] = {}
    token: str = "access_token"  # noqa: S105 - a path
    expires_in: str | None = None
    expires_at: str | None = None
    life: str | None = None

    @property
    def path(self) -> str | None:
        """The path of the request; the mock platform serves it on its own host."""
        return None if self.url is None else urlsplit(self.url).path

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.static is None) == (self.url is None):
            raise ValueError("needs exactly one of static and url")
        return self


class TokenTable(_Table):
    """The header field that carries the token."""

    header: str = "Authorization"
    scheme: str = "Bearer"


class PagingTable(_Table):
    """How pages follow each other."""

    kind: PagingKind = PagingKind.NONE
    param: str | None = None
    size: str | None = None
    in_: Literal["query", "body"] = Field("query", alias="in")
    first: int = 1
    next: str | None = None
    has_more: str | None = None
    total: str | None = None


class ListTable(_Table):
    """The request for a page, and where its answer has what."""

    method: str = "GET"
    path: str
    params: dict[str, str] = {}
    json_: dict[str, JsonValue] | None = Field(None, alias="json")
    records: str
    absent: Literal["error", "empty"] = "error"
    page_size: tuple[int, int] = (1, 1000)
    cost: int = Field(1, ge=1)
    paging: PagingTable = PagingTable()


class FieldTable(_Table):
    """Where a record has a value: at the first path. A number is divided by `scale`."""

    path: Annotated[tuple[str, ...], BeforeValidator(_paths)] = Field(min_length=1)
    scale: float = Field(1.0, gt=0)
    time: Literal["ms", "s", "text"] | None = None


OneField = Annotated[FieldTable, BeforeValidator(_path_alone)]


class FieldsTable(_Table):
    """Where a record has the values of a campaign."""

    id: OneField
    name: OneField | None = None
    status: OneField | None = None
    budget: OneField | None = None
    currency: OneField | None = None
    impressions: OneField | None = None
    clicks: OneField | None = None
    conversions: OneField | None = None
    created_at: OneField | None = None
    volatile: tuple[str, ...] = ()

    def described(self) -> list[tuple[str, FieldTable]]:
        """Return the name and place of each value that records have."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields if name != "volatile")
        return [(name, field) for name, field in found if field is not None]


class ApiDescription(BaseModel, extra="ignore", frozen=True):
    """An API without pushes."""

    sign_in: SignInTable
    token: TokenTable = TokenTable()
    headers: dict[str, str] = {}
    list_: ListTable = Field(alias="list")
    fields_: FieldsTable = Field(alias="fields")
    expect: ExpectTable | None = None
    answers: tuple[AnswerTable, ...] = ()

    def answer(self, means: Means) -> AnswerTable | None:
        """Return how the API says what it means, None if by the usual status."""
        return next((answer for answer in self.answers if answer.means is means), None)

    @model_validator(mode="before")
    @classmethod
    def _pull_only(cls, document: JsonValue) -> JsonValue:
        if isinstance(document, dict) and "push" in document:
            raise ValueError("describes a push, which only the platform's own API takes")
        return document
