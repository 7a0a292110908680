"""What a tenant signs in to its platform with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import CredentialsRef

_KINDS = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "an array"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of an ad platform. Neither part shows in `repr`.

    `version`: its number where its place counts versions, which is Vault. `trimmed`: a part ended in a line break,
    which was cut off.
    """

    email: str = field(repr=False)
    password: SecretStr
    version: int | None = field(default=None, compare=False)
    trimmed: bool = field(default=False, compare=False)


class CredentialsSource(Protocol):
    """Where runs get their credentials from."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return what `ref` leads to now; raises `CredentialsMissing` or `CredentialsUnavailable`."""

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version of it that was seen, and keep looking `until` then, on the clock's monotonic line.

        None where none was seen yet, or versions are not counted. Asks nobody now.
        """


def credentials_of(content: object, where: str, keys: tuple[str, str] = ("email", "password")) -> Credentials:
    """Return the credentials at the `keys` of the object `content`; `where` names its place in the error.

    One line break at the end of a value is cut off: it comes from an editor or from `echo`, and could not be sent.
    """
    values = content if isinstance(content, dict) else {}
    wrong = [fault for key in keys for fault in _faults(key, values)]
    if wrong:
        raise CredentialsMissing(
            f"{where} does not hold credentials: {', '.join(wrong)}; "
            f"it needs the keys {' and '.join(keys)}, texts and not empty"
        )
    email, password = (_trimmed(values[key]) for key in keys)
    wrong = [*_unsendable(keys[0], email), *_unsendable(keys[1], password)]
    if ":" in email:
        wrong.append(f"{keys[0]} has a colon, where HTTP's Basic authentication would cut it")
    if wrong:
        raise CredentialsMissing(f"{where} holds credentials that can't be sent: {', '.join(wrong)}; write them anew")
    return Credentials(email, SecretStr(password), trimmed=[email, password] != [values[key] for key in keys])


def _faults(key: str, values: dict[str, object]) -> Iterator[str]:
    value = values.get(key)
    if key not in values:
        yield f"{key} is missing"
    elif not isinstance(value, str):
        yield f"{key} is {_KINDS.get(type(value), 'an object')}"
    elif not _trimmed(value):
        yield f"{key} is empty"


def _trimmed(value: str) -> str:
    return value.removesuffix("\n").removesuffix("\r") if value.endswith("\n") else value


def _unsendable(key: str, value: str) -> Iterator[str]:
    """Find what HTTP's Basic authentication can't carry (RFC 7617, 2)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        yield f"{key} is not UTF-8 text"
    if any(character < " " or character == "\x7f" for character in value):
        yield f"{key} has a line break or another control character"
