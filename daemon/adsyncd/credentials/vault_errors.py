"""Translates errors of hvac and requests into messages for an operator, each with its fix.

`CredentialsMissing`: an operator has to act. `CredentialsUnavailable`: the error may pass by itself. No message repeats
Vault's answer: it may be a proxy's page, and it may quote what was sent.
"""

from collections.abc import Sequence

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

from adsyncd.credentials.sources import listed
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState
from adsyncd.model.tenant import EMAIL_AND_PASSWORD

OUTAGES = frozenset(
    {
        VaultState.SEALED,
        VaultState.UNINITIALIZED,
        VaultState.DOWN,
        VaultState.SLOW,
        VaultState.FAILING,
        VaultState.LIMITED,
        VaultState.UNTRUSTED,
    }
)

_UNANSWERED: tuple[tuple[type[Exception], type[CredentialsError], VaultState, str], ...] = (
    (
        InvalidPath,
        CredentialsMissing,
        VaultState.NO_NAMESPACE,
        "has no such namespace, or is not Vault; check vault.namespace and vault.address",
    ),
    (VaultDown, CredentialsUnavailable, VaultState.SEALED, "is sealed or in maintenance; unseal it"),
    (
        VaultNotInitialized,
        CredentialsUnavailable,
        VaultState.UNINITIALIZED,
        "is not initialized; initialize and unseal it",
    ),
    (
        RateLimitExceeded,
        CredentialsUnavailable,
        VaultState.LIMITED,
        "rejects requests by a rate limit; raise the limit if this continues",
    ),
    (VaultError, CredentialsUnavailable, VaultState.FAILING, "failed; see its log"),
    (Timeout, CredentialsUnavailable, VaultState.SLOW, "did not answer in time; check that it is up"),
    (
        SSLError,
        CredentialsUnavailable,
        VaultState.UNTRUSTED,
        "has an untrusted certificate; set vault.ca_file to its CA, and check that the certificate names this host",
    ),
    (
        RequestException,
        CredentialsUnavailable,
        VaultState.DOWN,
        "can't be reached; check that it is up, and check vault.address",
    ),
    (
        OSError,
        CredentialsMissing,
        VaultState.UNTRUSTED,
        "can't be trusted without its CA; check that vault.ca_file exists and is readable",
    ),
)


def sign_in_refused(exc: VaultError, vault: str) -> CredentialsError:
    """Explain a failed sign-in of the daemon by AppRole."""
    match exc:
        case InvalidRequest():
            return CredentialsMissing(
                f"{vault} refuses the daemon's AppRole: its role id or secret id is wrong, used up or expired; "
                "issue a new secret id, and check vault.auth",
                VaultState.REFUSED,
            )
        case Forbidden():
            return CredentialsMissing(
                f"{vault} has no sign-in by AppRole; enable it at auth/approle", VaultState.REFUSED
            )
    return unanswered(exc, vault)


def token_refused(exc: VaultError, vault: str) -> CredentialsError:
    """Explain a refusal of the daemon's token."""
    if isinstance(exc, Forbidden):
        return CredentialsMissing(
            f"{vault} refuses the daemon's token: it is wrong, expired, revoked or without the policy 'default'; "
            "issue a new one",
            VaultState.REFUSED,
        )
    return unanswered(exc, vault)


def unwrapping_refused(exc: VaultError, vault: str) -> CredentialsError:
    """Explain a failed unwrapping of the daemon's secret id."""
    if isinstance(exc, (InvalidRequest, Forbidden)):
        return CredentialsMissing(
            f"{vault} can't unwrap the daemon's secret id: its wrapping token was used before, or has expired. "
            "If nothing of yours used it, somebody else has the secret id: destroy it; "
            "then deliver a new wrapping token",
            VaultState.UNWRAPPED,
        )
    return unanswered(exc, vault)


def wrapped_elsewhere(vault: str) -> CredentialsError:
    """Explain why a wrapping token is not used: no AppRole's secret-id endpoint made it."""
    return CredentialsMissing(
        f"the wrapping token for the daemon's secret id was not made at auth/approle/role/ROLE/secret-id of {vault}: "
        "somebody may have replaced it; find out who, then deliver a new wrapping token",
        VaultState.UNWRAPPED,
    )


def role_refused(exc: VaultError, vault: str, role: str) -> CredentialsError:
    """Explain a failed sign-in of the daemon as the AppRole `role`."""
    match exc:
        case Forbidden():
            return CredentialsMissing(
                f"{vault} does not let the daemon sign in as {role}; give the daemon's policy read on "
                f"auth/approle/role/{role}/role-id and update on auth/approle/role/{role}/secret-id",
                VaultState.DENIED,
            )
        case InvalidPath():
            return CredentialsMissing(
                f"{vault} has no AppRole {role}; create it, or check auth.role", VaultState.NO_ROLE
            )
        case InvalidRequest():
            return CredentialsMissing(
                f"{vault} refuses the AppRole {role} with a secret id that it has just issued; "
                "check what the role is bound to, such as secret_id_bound_cidrs",
                VaultState.REFUSED,
            )
    return unanswered(exc, vault)


def read_refused(
    exc: VaultError, vault: str, who: str, mount: str, path: str, keys: Sequence[str] = EMAIL_AND_PASSWORD
) -> CredentialsError:
    """Explain why `who` could not read the secret at `path` of `mount`, which needs `keys`."""
    where = f"{mount}/{path}"
    match exc:
        case Forbidden():
            return CredentialsMissing(
                f"{vault} does not let {who} read {where}; "
                f"check the path and vault.mount, and give its policy read on {mount}/data/{path}",
                VaultState.DENIED,
            )
        case InvalidPath(json={"data": {"metadata": {"version": int(version)}}}):
            return CredentialsMissing(
                f"version {version} of {where} is deleted in {vault}; undelete it or write a new one",
                VaultState.DELETED,
            )
        case InvalidPath():
            return CredentialsMissing(
                f"{vault} has nothing at {where}; write {listed(keys)} there, "
                "or check the path and that vault.mount is a KV version 2 engine",
                VaultState.MISSING,
            )
    return unanswered(exc, vault)


def version_1(vault: str, mount: str, path: str) -> CredentialsError:
    """Explain why a secret in a KV version 1 engine is not read: adsyncd could not notice a rotation."""
    return CredentialsMissing(
        f"{mount}, which holds {path}, is a KV version 1 engine of {vault}; "
        f"upgrade it (vault kv enable-versioning {mount}), or name a version 2 engine in vault.mount",
        VaultState.MISSING,
    )


def unreadable(vault: str, mount: str, path: str, keys: Sequence[str] = EMAIL_AND_PASSWORD) -> CredentialsError:
    """Explain an unreadable answer about one secret, such as one nested too deep. Vault as a whole is not failing."""
    return CredentialsUnavailable(
        f"the answer of {vault} about {mount}/{path} can't be read; write only {listed(keys)} there, as text"
    )


def look_refused(exc: VaultError, vault: str, who: str, mount: str, path: str) -> CredentialsError:
    """Explain why `who` could not read the version of the secret at `path` of `mount`."""
    if isinstance(exc, Forbidden):
        return CredentialsMissing(
            f"{vault} does not let {who} see the version of {mount}/{path}; "
            f"give its policy read on {mount}/metadata/{path}",
            VaultState.DENIED,
        )
    return read_refused(exc, vault, who, mount, path)


def too_short(vault: str, who: str, duration_s: float) -> CredentialsError:
    """Explain why `who` can't use a token: it had expired when it arrived."""
    return CredentialsUnavailable(
        f"{vault} grants {who} a token for {duration_s:g} s, which had expired when the answer arrived; "
        "lengthen its ttl, and find out why Vault is slow",
        VaultState.TOO_SHORT,
    )


def not_vault(vault: str) -> CredentialsError:
    """Explain an answer that is not Vault's."""
    return CredentialsUnavailable(
        f"{vault} does not answer as Vault does; check vault.address (redirects are not followed)",
        VaultState.FAILING,
    )


def unexpected(exc: Exception, vault: str) -> CredentialsError:
    """Report an unexpected error by its type: its text may quote a request or an answer."""
    return CredentialsUnavailable(
        f"a request to {vault} failed with an unexpected error ({type(exc).__name__}); report it",
        VaultState.FAILING,
    )


def unanswered(exc: VaultError | OSError, vault: str) -> CredentialsError:
    """Explain an error that does not depend on the request."""
    return next(error(f"{vault} {text}", state) for kind, error, state, text in _UNANSWERED if isinstance(exc, kind))
