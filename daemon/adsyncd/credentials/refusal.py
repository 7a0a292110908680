"""What hvac and requests raise, told to an operator: what is wrong, and what would mend it.

What an operator has to mend is `CredentialsMissing`; what may pass by itself is `CredentialsUnavailable`. No text
repeats what Vault answered: it may be a proxy's page, and it may quote what was sent.
"""

from hvac.exceptions import (
    Forbidden,
    InvalidPath,
    InvalidRequest,
    RateLimitExceeded,
    VaultDown,
    VaultError,
    VaultNotInitialized,
)
from requests.exceptions import RequestException, SSLError, Timeout

from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable

_UNANSWERED: tuple[tuple[type[Exception], type[CredentialsError], str], ...] = (
    (
        InvalidPath,
        CredentialsMissing,
        "has no such namespace, or is not Vault; check vault.namespace and vault.address",
    ),
    (VaultDown, CredentialsUnavailable, "is sealed or in maintenance; unseal it"),
    (VaultNotInitialized, CredentialsUnavailable, "is not initialized; initialize and unseal it"),
    (RateLimitExceeded, CredentialsUnavailable, "has had too many requests; raise its quota if this goes on"),
    (VaultError, CredentialsUnavailable, "failed; see its log"),
    (Timeout, CredentialsUnavailable, "did not answer in time; see whether it is up"),
    (
        SSLError,
        CredentialsUnavailable,
        "shows no certificate that can be trusted; set vault.ca_file to its CA, and check that it names this host",
    ),
    (RequestException, CredentialsUnavailable, "can't be reached; see whether it is up, and check vault.address"),
    (OSError, CredentialsMissing, "can't be trusted without its CA; check that vault.ca_file is there and readable"),
)


def approle_refused(exc: VaultError, vault: str) -> CredentialsError:
    """Explain why the daemon could not sign in to `vault` by AppRole."""
    match exc:
        case InvalidRequest():
            return CredentialsMissing(
                f"{vault} refuses the daemon's AppRole: its role id or secret id is wrong, used up or expired; "
                "issue a new secret id, and check vault.auth"
            )
        case Forbidden():
            return CredentialsMissing(f"{vault} has no sign-in by AppRole; enable it at auth/approle")
    return unanswered(exc, vault)


def token_refused(exc: VaultError, vault: str) -> CredentialsError:
    """Explain why `vault` does not take the daemon's token."""
    match exc:
        case Forbidden():
            return CredentialsMissing(
                f"{vault} refuses the daemon's token: it is wrong, expired, revoked or without the policy 'default'; "
                "issue a new one"
            )
    return unanswered(exc, vault)


def read_refused(exc: VaultError, vault: str, mount: str, path: str) -> CredentialsError:
    """Explain why `vault` would not give the secret at `path` of `mount`."""
    where = f"{mount}/{path}"
    match exc:
        case Forbidden():
            return CredentialsMissing(
                f"{vault} does not let the daemon read {where}; "
                f"check the path and vault.mount, and give the daemon's policy read on {mount}/data/{path}"
            )
        case InvalidPath(json={"data": {"metadata": {"version": int(version)}}}):
            return CredentialsMissing(
                f"version {version} of {where} is deleted in {vault}; undelete it or write a new one"
            )
        case InvalidPath():
            return CredentialsMissing(
                f"{vault} has nothing at {where}; write email and password there, "
                "or check the path and that vault.mount is a KV version 2 engine"
            )
    return unanswered(exc, vault)


def unanswered(exc: VaultError | OSError, vault: str) -> CredentialsError:
    """Explain why `vault` answered nothing useful, whatever it was asked."""
    return next(error(f"{vault} {text}") for kind, error, text in _UNANSWERED if isinstance(exc, kind))
