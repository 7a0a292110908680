"""The daemon's own secrets, such as its Vault secret id: settings say where one lies, and it is read when needed.

Reading it anew each time is what makes a rotated secret work without a restart.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from adsyncd.credentials.systemd import read_credential, read_secret
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.host.shortage import shortage
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace


def resolve_secret(ref: SecretPlace, environ: Mapping[str, str]) -> SecretStr:
    """Return the secret that `ref` leads to, without the white space around it.

    Raises `CredentialsMissing`, also for a secret that is empty or that no header could carry.
    """
    match ref:
        case InCredential(name):
            where, text = f"the credential {name}", read_credential(name, environ)
        case InVariable(name):
            where, text = f"the environment variable {name}", environ.get(name, "")
        case InFile(path):
            where, text = f"the file {path}", _read(path)
    secret = text.strip()
    if not fits_header(secret):
        raise CredentialsMissing(f"{where} holds no secret: it must be one line of printable ASCII")
    return SecretStr(secret)


def fits_header(secret: str) -> bool:
    """Return whether a header can carry it. The HTTP library's error for one that it can't would quote the secret."""
    return secret.isascii() and secret.isprintable() and bool(secret)


def _read(path: Path) -> str:
    try:
        return read_secret(path, f"the file {path}")
    except OSError as exc:
        if lack := shortage(exc):
            raise CredentialsUnavailable(lack) from exc
        raise CredentialsMissing(
            f"the file {path} can't be read ({exc.strerror}); create it for the daemon's user"
        ) from exc
