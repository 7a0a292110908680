"""The tables of a platform's profile: every key with its default and bounds, and the `Profile` that they describe."""

from typing import Any, Literal

from pydantic import Field

from adsyncd.config.answer_tables import AnswerTable, RuleTable
from adsyncd.config.field_types import ConfigTable, VarName, Whole
from adsyncd.config.limits_table import LimitsTable
from adsyncd.config.listing_tables import FieldsTable, ListTable
from adsyncd.config.profile_types import ApiAddress, ApiPath, HeaderFieldName, HeaderFields, ValuePath
from adsyncd.config.sign_in_tables import SignInTable, TokenTable
from adsyncd.config.templates import as_headers, as_json
from adsyncd.model.profile import Means, Profile, Push

_MOST_ANSWERS = 32  # every answer is compared with all of them


class PushTable(ConfigTable):
    """The request that asks the platform to sync a campaign."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    path: ApiPath = Field(examples=["/v1/campaigns/{id}/sync"])
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"campaign_id": "{id}"}])
    idempotency_header: HeaderFieldName | None = Field(None, examples=["Idempotency-Key"])
    succeeded: RuleTable | None = Field(None, examples=[{"path": "success", "values": [True]}])
    confirms: ValuePath | None = Field(None, examples=["campaign_id"])
    cost: Whole = Field(1, ge=1, le=1000)

    def push(self) -> Push:
        """Return the domain value."""
        return Push(
            self.method,
            self.path,
            as_json(self.json_),
            self.idempotency_header and self.idempotency_header.lower(),
            self.succeeded.rule() if self.succeeded else None,
            self.confirms,
            self.cost,
        )


class ProfileFile(ConfigTable):
    """A platform's profile."""

    base_url: ApiAddress | None = Field(None, examples=["https://ads.example.com"])
    vars: tuple[VarName, ...] = Field((), max_length=32, examples=[["login_customer_id"]])
    sign_in: SignInTable = Field(examples=[{"static": "access_token"}])
    token: TokenTable = TokenTable()
    headers: HeaderFields = Field(default_factory=dict)
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
            headers=as_headers(self.headers),
            token_header=self.token.header.lower(),
            token_scheme=self.token.scheme,
            expect=self.expect.rule() if self.expect else None,
            answers=tuple(answer for answer in answers if answer.means is not Means.THROTTLED),
            push=self.push.push() if self.push else None,
            dialect=self.limits.dialect(throttling),
            vars=self.vars,
        )
