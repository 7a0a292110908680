"""How operators say where one of the daemon's own secrets is kept, since none stands in a file of the configuration."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import AbsolutePath, ConfigTable, CredentialName, VariableName
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace


class SecretRef(ConfigTable):
    """Where one of the daemon's own secrets is kept, in one of three places; never the secret itself."""

    credential: CredentialName | None = Field(None, examples=["vault-secret-id"])
    env: VariableName | None = Field(None, examples=["VAULT_SECRET_ID"])
    file: AbsolutePath | None = Field(None, examples=["/run/secrets/vault-secret-id"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.credential, self.env, self.file).count(None) != 2:  # noqa: PLR2004 - two of the three
            raise wrong("must hold one of credential, env and file", echo=False)
        return self

    def place(self) -> SecretPlace:
        """Return it as everything inside knows it."""
        if self.credential is not None:
            return InCredential(self.credential)
        if self.env is not None:
            return InVariable(self.env)
        assert self.file is not None  # noqa: S101 - the table holds one of the three
        return InFile(self.file)


def never_inline(value: object) -> object:
    """Refuse a secret in the place of its table."""
    if isinstance(value, str):
        raise wrong("must not hold the secret itself, but say where it is", echo=False)
    return value


Secret = Annotated[SecretRef, BeforeValidator(never_inline)]
