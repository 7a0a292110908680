"""Tables of a profile's sign-in: where a token comes from, and how requests carry it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import (
    ConfigTable,
    SomeDuration,
)
from adsyncd.config.profile_types import HeaderFieldName, HeaderFields, SecretName, SignInUrl, ValuePath
from adsyncd.config.templates import as_headers, as_json, as_texts
from adsyncd.model.profile import SignIn, StaticToken, TokenRequest


class SignInTable(ConfigTable):
    """Where a token comes from: it is a secret itself (`static`), or one request to `url` brings it."""

    static: SecretName | None = Field(None, examples=["access_token"])
    method: Literal["GET", "POST"] = "POST"
    url: SignInUrl | None = Field(None, examples=["https://oauth2.googleapis.com/token"])
    basic: tuple[SecretName, SecretName] | None = Field(None, examples=[["email", "password"]])
    form: dict[str, str] | None = Field(None, examples=[{"grant_type": "refresh_token"}])
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"Login": "{secret.login}"}])
    headers: HeaderFields = Field(default_factory=dict)
    token: ValuePath = "access_token"  # noqa: S105 - a path
    expires_in: ValuePath | None = Field(None, examples=["expires_in"])
    expires_at: ValuePath | None = Field(None, examples=["expires_at"])
    life: SomeDuration | None = Field(None, examples=["12h"])

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.static is None) == (self.url is None):
            raise wrong("needs exactly one of static and url", echo=False)
        if self.static is not None and self.model_fields_set != {"static"}:
            raise wrong("has a static token, so it needs no other key", echo=False)
        if self.form is not None and self.json_ is not None:
            raise wrong("has both form and json; keep one of them", echo=False)
        if self.method == "GET" and self.has_body:
            raise wrong('has a body, which a GET has not; write method = "POST"', echo=False)
        return self

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self.form is not None or self.json_ is not None

    def sign_in(self) -> SignIn:
        """Return the domain value."""
        if self.static is not None:
            return StaticToken(self.static)
        return TokenRequest(
            self.method,
            str(self.url),
            self.basic,
            None if self.form is None else as_texts(self.form),
            as_json(self.json_),
            as_headers(self.headers),
            self.token,
            self.expires_in,
            self.expires_at,
            self.life,
        )


class TokenTable(ConfigTable):
    """The header field in which requests carry the token, and the word before it."""

    header: HeaderFieldName = "authorization"
    scheme: Annotated[str, Field(pattern=r"^[!-~]*$", max_length=64)] = "Bearer"
