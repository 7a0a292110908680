"""What a tenant signs in to its platform with."""

from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from adsyncd.errors import CredentialsMissing
from adsyncd.tenant import CredentialsRef


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of an ad platform. Neither part shows in `repr`.

    `version`: its number where its place counts versions, which is Vault.
    """

    email: str = field(repr=False)
    password: SecretStr
    version: int | None = field(default=None, compare=False)


class CredentialsSource(Protocol):
    """Where runs get their credentials from."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return what `ref` leads to now; raises `CredentialsMissing` or `CredentialsUnavailable`."""

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version of it that was seen, and keep looking `until` then, on the clock's monotonic line.

        None where none was seen yet, or versions are not counted. Asks nobody now.
        """


def credentials_of(content: object, where: str) -> Credentials:
    """Return the credentials in the decoded JSON object `content`; `where` names its place in the error."""
    match content:
        case {"email": str(email), "password": str(password)} if email and password:
            return Credentials(email, SecretStr(password))
    raise CredentialsMissing(
        f"{where} does not hold credentials; it needs the keys email and password, texts and not empty"
    )
