"""The tables of a platform's profile: every key with its default and bounds, and the `Profile` that they describe."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import Diagnostic, wrong
from adsyncd.config.field_types import (
    ApiPath,
    ConfigTable,
    HeaderName,
    JsonPath,
    PrintableText,
    Scale,
    SecretName,
    SignInUrl,
    SomeDuration,
    Url,
    Whole,
)
from adsyncd.config.limits_table import LimitsTable
from adsyncd.config.toml_file import Key
from adsyncd.model.profile import (
    SECRET,
    Answer,
    FieldPlace,
    Listing,
    Means,
    Paging,
    PagingKind,
    Profile,
    Push,
    SignIn,
    StaticToken,
    Texts,
    Times,
    TokenRequest,
    placeholders,
)
from adsyncd.rate.dialect import Rule

_FAILURE = 400
_MOST_ANSWERS = 32  # every answer is compared with all of them
_MOST_VALUES = 256


def _value(value: object) -> object:
    match value:
        case [int(low), int(high)] if low <= high:
            return value
        case bool() | int() | str():
            return value
    raise wrong(
        "expected a whole number, text, true, false, or the first and last number of a range",
        'for example 17, "busy" or [80000, 80014]',
    )


Value = Annotated[bool | int | str | tuple[int, int], BeforeValidator(_value)]


def _values(values: tuple[bool | int | str | tuple[int, int], ...]) -> tuple[bool | int | str | range, ...]:
    return tuple(range(value[0], value[1] + 1) if isinstance(value, tuple) else value for value in values)


class RuleTable(ConfigTable):
    """What the value at a path has to be."""

    path: JsonPath = Field(examples=["code"])
    values: tuple[Value, ...] = Field(min_length=1, max_length=_MOST_VALUES, examples=[[0]])

    def rule(self) -> Rule:
        """Return the domain value."""
        return Rule(None, self.path, _values(self.values))


class AnswerTable(ConfigTable):
    """An answer whose meaning its status does not tell: by its status, its body, or both."""

    means: Means = Field(examples=["throttled"])
    status: Whole | None = Field(None, ge=200, le=599, examples=[403])
    path: JsonPath | None = Field(None, examples=["error.code"])
    values: tuple[Value, ...] = Field((), max_length=_MOST_VALUES, examples=[[17, [80000, 80014]]])

    @model_validator(mode="after")
    def _tells_failures(self) -> Self:
        if (self.path is None) != (not self.values):
            raise wrong("needs both path and values, or neither", echo=False)
        if self.path is None and (self.status is None or self.status < _FAILURE):
            raise wrong("would match every answer", "add path and values", echo=False)
        return self

    def answer(self) -> Answer:
        """Return the domain value."""
        return Answer(self.means, Rule(self.status, self.path, _values(self.values)))


class SignInTable(ConfigTable):
    """Where a token comes from: it is a secret itself (`static`), or one request to `url` brings it."""

    static: SecretName | None = Field(None, examples=["access_token"])
    method: Literal["GET", "POST"] = "POST"
    url: SignInUrl | None = Field(None, examples=["https://oauth2.googleapis.com/token"])
    basic: tuple[SecretName, SecretName] | None = Field(None, examples=[["email", "password"]])
    form: dict[str, str] | None = Field(None, examples=[{"grant_type": "refresh_token"}])
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"Login": "{secret.login}"}])
    headers: dict[HeaderName, PrintableText] = Field(default_factory=dict)
    token: JsonPath = "access_token"  # noqa: S105 - a path
    expires_in: JsonPath | None = Field(None, examples=["expires_in"])
    expires_at: JsonPath | None = Field(None, examples=["expires_at"])
    life: SomeDuration | None = Field(None, examples=["12h"])

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.static is None) == (self.url is None):
            raise wrong("needs exactly one of static and url", echo=False)
        if self.static is not None and self.model_fields_set != {"static"}:
            raise wrong("has a static token, so it needs no other key", echo=False)
        if self.form is not None and self.json_ is not None:
            raise wrong("has both form and json; keep one of them", echo=False)
        if self.method == "GET" and (self.form is not None or self.json_ is not None):
            raise wrong('has a body, which a GET has not; write method = "POST"', echo=False)
        return self

    def sign_in(self) -> SignIn:
        """Return the domain value."""
        if self.static is not None:
            return StaticToken(self.static)
        return TokenRequest(
            self.method,
            str(self.url),
            self.basic,
            None if self.form is None else _texts(self.form),
            _json(self.json_),
            _texts(self.headers),
            self.token,
            self.expires_in,
            self.expires_at,
            self.life,
        )


class TokenTable(ConfigTable):
    """The header field in which requests carry the token, and the word before it."""

    header: HeaderName = "authorization"
    scheme: Annotated[str, Field(pattern=r"^[!-~]*$", max_length=64)] = "Bearer"


class PagingTable(ConfigTable):
    """How pages follow each other. See `adsyncd.model.profile.Paging`."""

    kind: PagingKind = Field(PagingKind.NONE, examples=["cursor"])
    param: PrintableText | None = Field(None, examples=["page"])
    size: PrintableText | None = Field(None, examples=["page_size"])
    in_: Literal["query", "body"] = Field("query", alias="in")
    first: Whole = Field(1, ge=0, le=1)
    next: JsonPath | None = Field(None, examples=["paging.cursors.after"])
    has_more: JsonPath | None = Field(None, examples=["pagination.has_more"])
    total: JsonPath | None = Field(None, examples=["pagination.total"])

    @model_validator(mode="after")
    def _complete(self) -> Self:
        follows = self.kind in {PagingKind.CURSOR, PagingKind.LINK}
        if follows and self.next is None:
            raise wrong(f'of kind "{self.kind}" needs next, the path to it in an answer', echo=False)
        if not follows and self.next is not None:
            raise wrong(f'of kind "{self.kind}" has no use for next', echo=False)
        has_param = self.kind in {PagingKind.NUMBER, PagingKind.OFFSET, PagingKind.CURSOR}
        if has_param and self.param is None:
            raise wrong(f'of kind "{self.kind}" needs param, the name of the parameter', echo=False)
        if not has_param and self.param is not None:
            raise wrong(f'of kind "{self.kind}" has no use for param', echo=False)
        if "first" in self.model_fields_set and self.kind is not PagingKind.NUMBER:
            raise wrong('has first, which only kind "number" uses', echo=False)
        if follows and self.has_more is not None:
            raise wrong("has both next and has_more; keep next: without it no page follows", echo=False)
        return self

    def paging(self) -> Paging:
        """Return the domain value."""
        return Paging(
            self.kind, self.param, self.size, self.in_ == "body", self.first, self.next, self.has_more, self.total
        )


class ListTable(ConfigTable):
    """The request for a page of campaigns."""

    method: Literal["GET", "POST"] = "GET"
    path: ApiPath = Field(examples=["/v1/accounts/{account}/campaigns"])
    params: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"AdvertiserId": "{account}"}])
    records: Annotated[str, Field(pattern=r"^([^.]+(\.[^.]+)*)?$")] = Field(examples=["data"])
    absent: Literal["error", "empty"] = "error"
    page_size: tuple[Whole, Whole] = Field((1, 1000), examples=[[1, 500]])
    cost: Whole = Field(1, ge=1, le=1000)
    paging: PagingTable = PagingTable()

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        has_body = self.json_ is not None or self.paging.in_ == "body"
        if self.method == "GET" and has_body:
            raise wrong('has a body, which a GET has not; write method = "POST"', echo=False)
        least, most = self.page_size
        if not 1 <= least <= most:
            raise wrong("page_size must be the smallest and the largest page, from 1", echo=False)
        return self

    def listing(self) -> Listing:
        """Return the domain value."""
        return Listing(
            self.method,
            self.path,
            self.records,
            _texts(self.params),
            _json(self.json_) or ("{}" if self.paging.in_ == "body" else None),
            self.absent == "empty",
            self.page_size,
            self.cost,
            self.paging.paging(),
        )


def _paths(value: object) -> object:
    return [value] if isinstance(value, str) else value


class FieldTable(ConfigTable):
    """Where a record has a value: a path, or several, of which the first that leads to a value counts."""

    path: Annotated[tuple[JsonPath, ...], BeforeValidator(_paths)] = Field(
        min_length=1, max_length=8, examples=["campaign.id"]
    )
    scale: Scale = 1.0
    time: Times | None = None

    def place(self, column: str) -> FieldPlace:
        """Return the domain value."""
        return FieldPlace(column, self.path, self.scale, self.time)


def _path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str | list) else value


OneField = Annotated[FieldTable, BeforeValidator(_path_alone)]
"""The table, or only its `path`."""


class FieldsTable(ConfigTable):
    """Where a record has the values of a campaign's columns, and which of its values change constantly."""

    id: OneField = Field(examples=["id"])
    name: OneField | None = Field(None, examples=["name"])
    status: OneField | None = Field(None, examples=["status"])
    budget: OneField | None = Field(None, examples=[{"path": "budget_micros", "scale": 1e-6}])
    currency: OneField | None = Field(None, examples=["currency"])
    impressions: OneField | None = Field(None, examples=["impressions"])
    clicks: OneField | None = Field(None, examples=["clicks"])
    conversions: OneField | None = Field(None, examples=["conversions"])
    created_at: OneField | None = Field(None, examples=[{"path": "created", "time": "ms"}])
    volatile: tuple[JsonPath, ...] = Field((), max_length=64, examples=[["updated_at"]])

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for name, field in self._named():
            if field.scale != 1 and name != "budget":
                raise wrong(f"{name} has a scale, which only budget uses", echo=False)
            if field.time is not None and name != "created_at":
                raise wrong(f"{name} has a time, which only created_at uses", echo=False)
        return self

    def fields(self) -> tuple[FieldPlace, ...]:
        """Return the domain values."""
        return tuple(field.place(name) for name, field in self._named())

    def _named(self) -> Iterator[tuple[str, FieldTable]]:
        for name in type(self).model_fields:
            if name != "volatile" and (field := getattr(self, name)) is not None:
                yield name, field


class PushTable(ConfigTable):
    """The request that asks the platform to sync a campaign."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    path: ApiPath = Field(examples=["/v1/campaigns/{id}/sync"])
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"campaign_id": "{id}"}])
    idempotency_header: HeaderName | None = Field(None, examples=["Idempotency-Key"])
    succeeded: RuleTable | None = Field(None, examples=[{"path": "success", "values": [True]}])
    confirms: JsonPath | None = Field(None, examples=["campaign_id"])
    cost: Whole = Field(1, ge=1, le=1000)

    def push(self) -> Push:
        """Return the domain value."""
        return Push(
            self.method,
            self.path,
            _json(self.json_),
            self.idempotency_header,
            self.succeeded.rule() if self.succeeded else None,
            self.confirms,
            self.cost,
        )


class ProfileFile(ConfigTable):
    """A platform's profile."""

    base_url: Url | None = Field(None, examples=["https://ads.example.com"])
    vars: tuple[SecretName, ...] = Field((), max_length=32, examples=[["login_customer_id"]])
    sign_in: SignInTable = Field(examples=[{"static": "access_token"}])
    token: TokenTable = TokenTable()
    headers: dict[HeaderName, PrintableText] = Field(default_factory=dict)
    list_: ListTable = Field(alias="list", examples=[{"path": "/v1/campaigns", "records": "data"}])
    fields: FieldsTable = Field(examples=[{"id": "id"}])
    expect: RuleTable | None = Field(None, examples=[{"path": "code", "values": [0]}])
    answers: tuple[AnswerTable, ...] = Field((), max_length=_MOST_ANSWERS)
    limits: LimitsTable = LimitsTable()
    push: PushTable | None = None

    def profile(self, name: str) -> Profile:
        """Return the domain value."""
        answers = tuple(table.answer() for table in self.answers)
        throttling = tuple(answer.rule for answer in answers if answer.means is Means.THROTTLED)
        return Profile(
            name=name,
            sign_in=self.sign_in.sign_in(),
            listing=self.list_.listing(),
            fields=self.fields.fields(),
            base_url=self.base_url,
            volatile=self.fields.volatile,
            headers=_texts(self.headers),
            token_header=self.token.header,
            token_scheme=self.token.scheme,
            expect=self.expect.rule() if self.expect else None,
            answers=tuple(answer for answer in answers if answer.means is not Means.THROTTLED),
            push=self.push.push() if self.push else None,
            dialect=self.limits.dialect(throttling),
            vars=self.vars,
        )

    def misplaced(self) -> Iterator[Diagnostic]:
        """Find placeholders that nothing fills, and secrets outside of headers and sign-in bodies."""
        known = {"account", "page_size", *(f"var.{name}" for name in self.vars)}
        of_push = known | {"id"}
        push, sign_in = self.push, self.sign_in
        places: list[tuple[Key, object, set[str], bool]] = [
            (("headers",), self.headers, known, True),
            (("sign_in", "url"), sign_in.url, known, False),
            (("sign_in", "headers"), sign_in.headers, known, True),
            (("sign_in", "form"), sign_in.form, known, True),
            (("sign_in", "json"), sign_in.json_, known, True),
            (("list", "path"), self.list_.path, known, False),
            (("list", "params"), self.list_.params, known, False),
            (("list", "json"), self.list_.json_, known, False),
            (("push", "path"), push and push.path, of_push, False),
            (("push", "json"), push and push.json_, of_push, False),
        ]
        for above, value, names, may_hold_secrets in places:
            for key, text in _leaves(above, value):
                for name in placeholders(text):
                    if not name.startswith(SECRET):
                        if name not in names:
                            fix = f"known are {', '.join(sorted(names))}; vars has the names of var.NAME"
                            yield Diagnostic(key, f"has {{{name}}}, which nothing fills", fix)
                    elif not may_hold_secrets:
                        fix = "secrets may stand in headers, and in form and json of sign_in"
                        yield Diagnostic(key, f"must not have the secret {{{name}}}: it would show", fix)


def _texts(texts: Mapping[str, str]) -> Texts:
    return tuple(texts.items())


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _leaves(key: Key, value: object) -> Iterator[tuple[Key, str]]:
    """Yield the texts in a value, each with its key."""
    match value:
        case str():
            yield key, value
        case dict():
            for name, inner in value.items():
                yield from _leaves((*key, name), inner)
        case list():
            for inner in value:
                yield from _leaves(key, inner)
