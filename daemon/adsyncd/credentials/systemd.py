"""Credentials that systemd hands over as files in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=).

The files lie in memory and only the service can read them, so reading one neither blocks nor waits.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from adsyncd.config.regular_file import read_regular
from adsyncd.credentials.account import Credentials, credentials_of
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.host.shortage import shortage

_MOST_BYTES = 1 << 20  # as systemd has it for a credential
_NAME = re.compile(r"[\w-][\w.@-]*", re.ASCII)


def read_credential(name: str, environ: Mapping[str, str]) -> str:
    """Return the text of the credential `name`; raises `CredentialsError`."""
    if not _NAME.fullmatch(name):
        raise CredentialsMissing(f"{name!r} can't be a credential's name; use letters, digits, '_', '-', '.' and '@'")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise CredentialsMissing(
            f"there is no credential {name}: CREDENTIALS_DIRECTORY is not set; "
            f"start the daemon by systemd, with LoadCredential={name}:FILE in its unit"
        )
    try:
        return read_secret(Path(directory, name), f"the credential {name}")
    except OSError as exc:
        if lack := shortage(exc):
            raise CredentialsUnavailable(lack) from exc
        raise CredentialsMissing(
            f"the credential {name} can't be read ({exc.strerror}); set LoadCredential={name}:FILE in the unit"
        ) from exc


def read_secret(path: Path, where: str) -> str:
    """Return the text of a file that holds a secret, without a byte order mark.

    Raises OSError, and `CredentialsMissing` without a word of the content.
    """
    content = read_regular(path, _MOST_BYTES)
    if len(content) > _MOST_BYTES:
        raise CredentialsMissing(f"{where} is larger than {_MOST_BYTES >> 10} KiB; see whether it is the right file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # `from None`: the error that is left out carries the content.
        raise CredentialsMissing(f"{where} is not UTF-8 text; write it anew") from None


def read_systemd(name: str, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in the JSON object that is the credential `name`; raises `CredentialsError`."""
    where = f"the credential {name}"
    text = read_credential(name, environ)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        # `from None`: the error that is left out carries the content.
        raise CredentialsMissing(f'{where} is not JSON; write {{"email": "...", "password": "..."}}') from None
    return credentials_of(content, where)
