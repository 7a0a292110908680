"""The tables of a platform's profile: every key with its default and bounds, and the `Profile` that they describe."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from adsyncd.config.answer_tables import AnswerTable, RuleTable
from adsyncd.config.diagnostics import Diagnostic
from adsyncd.config.field_types import (
    ApiPath,
    ConfigTable,
    HeaderName,
    JsonPath,
    PrintableText,
    SecretName,
    Url,
    Whole,
)
from adsyncd.config.limits_table import LimitsTable
from adsyncd.config.listing_tables import FieldsTable, ListTable
from adsyncd.config.sign_in_tables import SignInTable, TokenTable
from adsyncd.config.templates import as_json, as_texts, leaves
from adsyncd.config.toml_file import Key
from adsyncd.model.profile import SECRET, Means, Profile, Push, placeholders

_Place = tuple[Key, object, set[str], bool]
_MOST_ANSWERS = 32  # every answer is compared with all of them


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
            as_json(self.json_),
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
            headers=as_texts(self.headers),
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
        places: list[_Place] = [
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
            for key, text in leaves(above, value):
                for name in placeholders(text):
                    if not name.startswith(SECRET):
                        if name not in names:
                            fix = f"known are {', '.join(sorted(names))}; vars has the names of var.NAME"
                            yield Diagnostic(key, f"has {{{name}}}, which nothing fills", fix)
                    elif not may_hold_secrets:
                        fix = "secrets may stand in headers, and in form and json of sign_in"
                        yield Diagnostic(key, f"must not have the secret {{{name}}}: it would show", fix)
