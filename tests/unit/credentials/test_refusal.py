import hvac.exceptions as hv
import pytest
import requests.exceptions as rq

from adsyncd.credentials.refusal import approle_refused, read_refused, token_refused, unanswered
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable

VAULT = "Vault at https://vault.example:8200"


@pytest.mark.parametrize(
    ("exc", "kind", "words"),
    [
        (hv.InvalidPath(), CredentialsMissing, "vault.namespace"),
        (hv.VaultDown(), CredentialsUnavailable, "sealed"),
        (hv.VaultNotInitialized(), CredentialsUnavailable, "not initialized"),
        (hv.RateLimitExceeded(), CredentialsUnavailable, "too many requests"),
        (hv.InternalServerError(), CredentialsUnavailable, "failed"),
        (hv.BadGateway(), CredentialsUnavailable, "failed"),
        (hv.UnexpectedError(), CredentialsUnavailable, "failed"),
        (rq.ConnectTimeout(), CredentialsUnavailable, "in time"),
        (rq.ReadTimeout(), CredentialsUnavailable, "in time"),
        (rq.SSLError(), CredentialsUnavailable, "vault.ca_file"),
        (rq.ConnectionError(), CredentialsUnavailable, "can't be reached"),
        (rq.ChunkedEncodingError(), CredentialsUnavailable, "can't be reached"),
        (OSError("no CA bundle"), CredentialsMissing, "vault.ca_file"),
    ],
)
def test_each_way_of_not_answering_has_its_words(exc: hv.VaultError | OSError, kind: type, words: str) -> None:
    error = unanswered(exc, VAULT)
    assert type(error) is kind
    assert str(error).startswith(VAULT)
    assert words in str(error)
    if isinstance(exc, hv.VaultError):
        assert str(token_refused(exc, VAULT)) == str(approle_refused(exc, VAULT)) == str(error)


def test_what_vault_says_itself_is_never_repeated() -> None:
    said = [
        explain(error(errors=["canary"], text="canary"), *args)
        for error in (hv.Forbidden, hv.InvalidRequest, hv.InvalidPath, hv.VaultDown, hv.InternalServerError)
        for explain, args in (
            (unanswered, (VAULT,)),
            (approle_refused, (VAULT,)),
            (token_refused, (VAULT,)),
            (read_refused, (VAULT, "secret", "adsyncd/acme")),
        )
    ]
    assert all(isinstance(error, CredentialsError) and "canary" not in str(error) for error in said)


def test_a_deleted_version_is_told_from_a_path_where_nothing_is() -> None:
    gone = hv.InvalidPath(json={"data": {"data": None, "metadata": {"version": 3, "deletion_time": "2026-01-01"}}})
    assert "version 3 of secret/acme is deleted" in str(read_refused(gone, VAULT, "secret", "acme"))
    assert "nothing at secret/acme" in str(read_refused(hv.InvalidPath(json={"errors": []}), VAULT, "secret", "acme"))
    assert "nothing at secret/acme" in str(read_refused(hv.InvalidPath(json=None), VAULT, "secret", "acme"))
