"""A tenant's credentials and the daemon's own secrets, from environment variables, systemd's credentials and files.

systemd hands credentials over as files in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=). They lie in
memory and only the service can read them, so reading one neither blocks nor waits.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from adsyncd.config.file_access import read_regular
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.host.shortage import shortage
from adsyncd.model.tenant import CredentialsRef, InCredential, InFile, InVariable, SecretPlace

_MOST_BYTES = 1 << 20  # systemd's limit for a credential
_NAME = re.compile(r"[\w-][\w.@-]*", re.ASCII)
_KINDS = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "an array"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of an ad platform. Neither part shows in `repr`.

    `version`: the secret's version number, if it comes from Vault. `trimmed`: a part ended in a line break, which was
    removed.
    """

    email: str = field(repr=False)
    password: SecretStr
    version: int | None = field(default=None, compare=False)
    trimmed: bool = field(default=False, compare=False)


class CredentialsSource(Protocol):
    """Gives runs their credentials."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return the current credentials at `ref`. Raises `CredentialsMissing` or `CredentialsUnavailable`."""

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version seen so far, and keep polling for newer ones until the monotonic instant `until`.

        None if no version was seen yet, or the source counts none. Sends no request itself.
        """


def credentials_of(content: object, where: str, keys: tuple[str, str] = ("email", "password")) -> Credentials:
    """Return the credentials at the `keys` of the object `content`; errors call its place `where`.

    One line break at the end of a value is removed: editors and `echo` add it, and HTTP can't send it. Raises
    `CredentialsMissing`.
    """
    values = content if isinstance(content, dict) else {}
    wrong = [problem for key in keys for problem in _unusable(key, values)]
    if wrong:
        raise CredentialsMissing(
            f"{where} does not hold credentials: {', '.join(wrong)}; "
            f"it needs the keys {' and '.join(keys)}, both non-empty text"
        )
    email, password = (_trimmed(values[key]) for key in keys)
    wrong = [*_unsendable(keys[0], email), *_unsendable(keys[1], password)]
    if ":" in email:
        wrong.append(f"{keys[0]} has a colon, where HTTP's Basic authentication would cut it")
    if wrong:
        raise CredentialsMissing(f"{where} holds credentials that can't be sent: {', '.join(wrong)}; correct them")
    return Credentials(email, SecretStr(password), trimmed=[email, password] != [values[key] for key in keys])


def read_environment(prefix: str, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in `{prefix}_EMAIL` and `{prefix}_PASSWORD`. Raises `CredentialsMissing`."""
    keys = f"{prefix}_EMAIL", f"{prefix}_PASSWORD"
    if absent := [key for key in keys if not environ.get(key)]:
        raise CredentialsMissing(f"the environment does not hold credentials; set {' and '.join(absent)}")
    return credentials_of({key: environ[key] for key in keys}, "the environment", keys)


def read_systemd(name: str, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in the JSON object that is systemd's credential `name`. Raises `CredentialsError`."""
    where = f"the credential {name}"
    text = _read_credential(name, environ)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        # `from None`: the hidden error carries the content.
        raise CredentialsMissing(f'{where} is not JSON; write {{"email": "...", "password": "..."}}') from None
    return credentials_of(content, where)


def resolve_secret(ref: SecretPlace, environ: Mapping[str, str]) -> SecretStr:
    """Return one of the daemon's own secrets, such as its Vault secret id, without the white space around it.

    Read anew at each call, so that a rotated secret works without a restart. Raises `CredentialsError`, also if the
    secret is empty or does not fit a header.
    """
    match ref:
        case InCredential(name):
            where, text = f"the credential {name}", _read_credential(name, environ)
        case InVariable(name):
            where, text = f"the environment variable {name}", environ.get(name, "")
        case InFile(path):
            where = f"the file {path}"
            text = _read_secret(path, where, "create it for the daemon's user")
    secret = text.strip()
    if not fits_header(secret):
        raise CredentialsMissing(f"{where} holds no secret: it must be one line of printable ASCII")
    return SecretStr(secret)


def fits_header(secret: str) -> bool:
    """Return whether an HTTP header can carry `secret`. If it can't, the HTTP library's error would quote it."""
    return secret.isascii() and secret.isprintable() and bool(secret)


def _read_credential(name: str, environ: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name):
        raise CredentialsMissing(f"{name!r} can't be a credential's name; use letters, digits, '_', '-', '.' and '@'")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise CredentialsMissing(
            f"there is no credential {name}: CREDENTIALS_DIRECTORY is not set; "
            f"start the daemon by systemd, with LoadCredential={name}:FILE in its unit"
        )
    return _read_secret(Path(directory, name), f"the credential {name}", f"set LoadCredential={name}:FILE in the unit")


def _read_secret(path: Path, where: str, absent: str) -> str:
    """Return a file's text without a byte order mark. No error quotes the content; `absent` is the fix if unreadable.

    Raises `CredentialsError`.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as exc:
        if lack := shortage(exc):
            raise CredentialsUnavailable(lack) from exc
        raise CredentialsMissing(f"{where} can't be read ({exc.strerror}); {absent}") from exc
    if len(content) > _MOST_BYTES:
        raise CredentialsMissing(f"{where} is larger than {_MOST_BYTES >> 10} KiB; check that it is the right file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # `from None`: the hidden error carries the content.
        raise CredentialsMissing(f"{where} is not UTF-8 text; save it as UTF-8") from None


def _unusable(key: str, values: Mapping[str, object]) -> Iterator[str]:
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
