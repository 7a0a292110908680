import hvac.exceptions as hv
import pytest
import requests.exceptions as rq

from adsyncd.credentials import vault_errors as ve
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState

VAULT = "Vault at https://vault.example:8200"
SECRET = ("the daemon", "secret", "adsyncd/acme")


@pytest.mark.parametrize(
    ("exc", "kind", "state", "words"),
    [
        (hv.InvalidPath(), CredentialsMissing, "wrong namespace", "vault.namespace"),
        (hv.VaultDown(), CredentialsUnavailable, "sealed", "is sealed"),
        (hv.VaultNotInitialized(), CredentialsUnavailable, "not initialized", "not initialized"),
        (hv.RateLimitExceeded(), CredentialsUnavailable, "limited", "rejects requests"),
        (hv.InternalServerError(), CredentialsUnavailable, "failing", "failed"),
        (hv.BadGateway(), CredentialsUnavailable, "failing", "failed"),
        (hv.UnexpectedError(), CredentialsUnavailable, "failing", "failed"),
        (rq.ConnectTimeout(), CredentialsUnavailable, "slow", "in time"),
        (rq.ReadTimeout(), CredentialsUnavailable, "slow", "in time"),
        (rq.SSLError(), CredentialsUnavailable, "untrusted", "vault.ca_file"),
        (rq.ConnectionError(), CredentialsUnavailable, "down", "can't be reached"),
        (rq.ChunkedEncodingError(), CredentialsUnavailable, "down", "can't be reached"),
        (OSError("no CA bundle"), CredentialsMissing, "untrusted", "vault.ca_file"),
    ],
)
def test_each_way_of_not_answering_has_its_words_and_its_state(
    exc: hv.VaultError | OSError, kind: type, state: str, words: str
) -> None:
    error = ve.unanswered(exc, VAULT)
    assert type(error) is kind
    assert error.state == state
    assert (state in ve.OUTAGES) == (state != "wrong namespace")
    assert str(error).startswith(VAULT)
    assert words in str(error)
    if isinstance(exc, hv.VaultError):
        assert str(ve.token_refused(exc, VAULT)) == str(ve.sign_in_refused(exc, VAULT)) == str(error)
        assert str(ve.unwrapping_refused(exc, VAULT)) == str(error)


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (ve.sign_in_refused(hv.InvalidRequest(), VAULT), VaultState.REFUSED, "issue a new secret id"),
        (ve.sign_in_refused(hv.Forbidden(), VAULT), VaultState.REFUSED, "enable it at auth/approle"),
        (ve.token_refused(hv.Forbidden(), VAULT), VaultState.REFUSED, "issue a new one"),
        (ve.unwrapping_refused(hv.InvalidRequest(), VAULT), VaultState.UNWRAPPED, "somebody else has the secret id"),
        (ve.wrapped_elsewhere(VAULT), VaultState.UNWRAPPED, "somebody may have replaced it"),
        (ve.role_refused(hv.Forbidden(), VAULT, "acme"), VaultState.DENIED, "auth/approle/role/acme/secret-id"),
        (ve.role_refused(hv.InvalidPath(), VAULT, "acme"), VaultState.NO_ROLE, "check auth.role"),
        (ve.role_refused(hv.InvalidRequest(), VAULT, "acme"), VaultState.REFUSED, "secret_id_bound_cidrs"),
        (ve.read_refused(hv.Forbidden(), VAULT, *SECRET), VaultState.DENIED, "read on secret/data/adsyncd/acme"),
        (ve.look_refused(hv.Forbidden(), VAULT, *SECRET), VaultState.DENIED, "read on secret/metadata/adsyncd/acme"),
        (ve.look_refused(hv.InvalidPath(), VAULT, *SECRET), VaultState.MISSING, "nothing at secret/adsyncd/acme"),
    ],
)
def test_each_refusal_has_its_words_and_is_an_operator_s_to_fix(
    error: CredentialsError, state: VaultState, words: str
) -> None:
    assert type(error) is CredentialsMissing
    assert error.state == state
    assert words in str(error)
    assert state not in ve.OUTAGES


def test_what_vault_says_itself_is_never_repeated() -> None:
    said = [
        explain(error(errors=["canary"], text="canary"), VAULT, *details)
        for error in (hv.Forbidden, hv.InvalidRequest, hv.InvalidPath, hv.VaultDown, hv.InternalServerError)
        for explain, details in (
            (ve.unanswered, ()),
            (ve.sign_in_refused, ()),
            (ve.token_refused, ()),
            (ve.unwrapping_refused, ()),
            (ve.role_refused, ("acme",)),
            (ve.read_refused, SECRET),
            (ve.look_refused, SECRET),
        )
    ]
    assert all(isinstance(error, CredentialsError) and "canary" not in str(error) for error in said)


def test_a_deleted_version_is_told_from_a_path_where_nothing_is() -> None:
    gone = hv.InvalidPath(json={"data": {"data": None, "metadata": {"version": 3, "deletion_time": "2026-01-01"}}})
    deleted = ve.read_refused(gone, VAULT, *SECRET)
    assert "version 3 of secret/adsyncd/acme is deleted" in str(deleted)
    assert deleted.state == VaultState.DELETED
    for nothing in (hv.InvalidPath(json={"errors": []}), hv.InvalidPath(json=None)):
        missing = ve.read_refused(nothing, VAULT, *SECRET)
        assert "nothing at secret/adsyncd/acme" in str(missing)
        assert missing.state == VaultState.MISSING


def test_a_token_that_is_too_short_is_told_with_its_life_and_is_nobody_else_s_outage() -> None:
    error = ve.too_short(VAULT, "the AppRole acme", 3)
    assert "the AppRole acme a token for 3 s" in str(error)
    assert error.state not in ve.OUTAGES


def test_an_error_that_nobody_thought_of_is_told_by_its_kind_alone() -> None:
    error = ve.unexpected(ZeroDivisionError("canary"), VAULT)
    assert "ZeroDivisionError" in str(error)
    assert "canary" not in str(error)
    assert error.state in ve.OUTAGES
