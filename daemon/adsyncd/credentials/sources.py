"""A tenant's credentials and the daemon's own secrets, from environment variables, systemd's credentials and files.

systemd hands credentials over as files in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=). They lie in
memory and only the service can read them, so reading one neither blocks nor waits.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from adsyncd.config.file_access import read_regular
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.host.shortage import shortage
from adsyncd.model.tenant import CredentialsRef, EnvRef, InCredential, InFile, InVariable, SecretPlace, SystemdRef

_MOST_BYTES = 1 << 20  # systemd's limit for a credential
_NAME = re.compile(r"[\w-][\w.@-]*", re.ASCII)
_KINDS = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "an array"}

Names = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A tenant's secrets, by name. No value shows in `repr`.

    `version`: the secret's version number, if it comes from Vault. `trimmed`: a value ended in a line break, which was
    removed.
    """

    secrets: Mapping[str, SecretStr] = field(hash=False)
    version: int | None = field(default=None, compare=False)
    trimmed: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, values: Mapping[str, str], version: int | None = None, *, trimmed: bool = False) -> "Credentials":
        """Return credentials with these values, by name."""
        return cls({name: SecretStr(value) for name, value in values.items()}, version, trimmed)

    def secret(self, name: str) -> SecretStr:
        """Return one secret. Raises `CredentialsMissing`."""
        if name not in self.secrets:
            raise CredentialsMissing(f"the credentials lack {name}; add it where the drop-in's credentials point")
        return self.secrets[name]


class CredentialsSource(Protocol):
    """Gives runs their credentials."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return the current credentials at `ref`. Raises `CredentialsMissing` or `CredentialsUnavailable`."""

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version seen so far, and keep polling for newer ones until the monotonic instant `until`.

        None if no version was seen yet, or the source counts none. Sends no request itself.
        """


def credentials_of(content: object, where: str, ref: CredentialsRef, names: Names = str) -> Credentials:
    """Return the credentials at the keys of `ref` in the object `content`; errors call its place `where`.

    One line break at the end of a value is removed: editors and `echo` add it, and HTTP can't send it. Raises
    `CredentialsMissing`. `names` makes the names in `content` of keys.
    """
    found = content if isinstance(content, dict) else {}
    values = {key: found[names(key)] for key in ref.keys if names(key) in found}
    if wrong := [f"{names(key)} {problem}" for key in ref.keys for problem in _unusable(key, values)]:
        needed = [names(key) for key in ref.keys]
        raise CredentialsMissing(f"{where} does not hold credentials: {', '.join(wrong)}; it needs {_needed(needed)}")
    trimmed = {key: _trimmed(value) for key, value in values.items()}
    if wrong := [f"{names(key)} {problem}" for key in ref.keys for problem in _unsendable(key, trimmed[key], ref)]:
        raise CredentialsMissing(f"{where} holds credentials that can't be sent: {', '.join(wrong)}; correct them")
    return Credentials.of(trimmed, trimmed=trimmed != values)


def variables(ref: EnvRef) -> list[str]:
    """Return the names of the environment variables with the credentials at `ref`."""
    return [_variable(ref, key) for key in ref.keys]


def read_environment(ref: EnvRef, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in environment variables such as `{prefix}_EMAIL`. Raises `CredentialsMissing`."""
    if absent := [name for name in variables(ref) if not environ.get(name)]:
        raise CredentialsMissing(f"the environment does not hold credentials; set {listed(absent)}")
    return credentials_of(dict(environ), "the environment", ref, partial(_variable, ref))


def read_systemd(ref: SystemdRef, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in the JSON object that is one of systemd's credentials. Raises `CredentialsError`."""
    where = f"the credential {ref.name}"
    text = _read_credential(ref.name, environ)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        shape = json.dumps(dict.fromkeys(ref.keys, "..."))
        # `from None`: the hidden error carries the content.
        raise CredentialsMissing(f"{where} is not JSON; write {shape}") from None
    return credentials_of(content, where, ref)


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


def _variable(ref: EnvRef, key: str) -> str:
    return f"{ref.prefix}_{key.upper()}"


def listed(names: Sequence[str]) -> str:
    """Return names, of which there is at least one, in words."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _needed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the key {names[0]}, a non-empty text"
    return f"the keys {listed(names)}, {'both' if len(names) == 2 else 'all'} non-empty text"  # noqa: PLR2004 - of two


def _unusable(key: str, values: Mapping[str, object]) -> Iterator[str]:
    value = values.get(key)
    if key not in values:
        yield "is missing"
    elif not isinstance(value, str):
        yield f"is {_KINDS.get(type(value), 'an object')}"
    elif not _trimmed(value):
        yield "is empty"


def _trimmed(value: str) -> str:
    return value.removesuffix("\n").removesuffix("\r") if value.endswith("\n") else value


def _unsendable(key: str, value: str, ref: CredentialsRef) -> Iterator[str]:
    """Find what no request can carry, HTTP's Basic authentication (RFC 7617, 2), or a header field."""
    try:
        value.encode()
    except UnicodeEncodeError:
        yield "is not UTF-8 text"
    if key in ref.basic and any(character < " " or character == "\x7f" for character in value):
        yield "has a line break or another control character"
    if key in ref.basic[:1] and ":" in value:
        yield "has a colon, where HTTP's Basic authentication would cut it"
    if key in ref.in_headers and not fits_header(value):
        yield "does not fit a header field, which needs one line of printable ASCII"
