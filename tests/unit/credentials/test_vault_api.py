import json
from collections.abc import Mapping
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from requests.adapters import BaseAdapter

from adsyncd.credentials.identity import TokenLease
from adsyncd.credentials.vault_api import Place, VaultApi
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState
from support.clock import SetClock

TOKEN = SecretStr("canary-token")


class Script(BaseAdapter):
    """Answers by path, without a network, and keeps what it was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        self.asked.append(request)
        answer = self.answers[request.path_url]
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        response.status_code = answer if isinstance(answer, int) else 200
        response.headers["content-type"] = "application/json"
        body = b"{}" if isinstance(answer, int) else json.dumps(answer).encode()
        response.raw = urllib3.HTTPResponse(BytesIO(body), preload_content=False)
        return response

    def close(self) -> None:
        pass


def scripted(answers: Mapping[str, Any], namespace: str | None = None) -> tuple[VaultApi, Script]:
    api, script = VaultApi(Place("http://vault.invalid", "kv", namespace, None, 1.0), SetClock()), Script(answers)
    api._session.mount("http://", script)
    return api, script


def body_of(request: requests.PreparedRequest) -> object:
    assert isinstance(request.body, bytes)
    return json.loads(request.body)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "canary-of-the-environment")


def test_a_sign_in_is_asked_for_without_any_token_and_becomes_a_lease() -> None:
    auth = {"client_token": "t", "lease_duration": 60, "renewable": True, "accessor": "a"}
    api, script = scripted({"/v1/auth/approle/login": {"auth": auth}}, namespace="team")
    assert api.sign_in("role", SecretStr("secret-id")) == TokenLease(SecretStr("t"), 0.0, 60, renewable=True)
    [asked] = script.asked
    assert "X-Vault-Token" not in asked.headers
    assert asked.headers["X-Vault-Namespace"] == "team"
    assert body_of(asked) == {"role_id": "role", "secret_id": "secret-id"}


def test_as_a_role_it_signs_in_with_a_secret_id_that_it_has_just_issued() -> None:
    api, script = scripted(
        {
            "/v1/auth/approle/role/acme/role-id": {"data": {"role_id": "r"}},
            "/v1/auth/approle/role/acme/secret-id": {"data": {"secret_id": "s"}},
            "/v1/auth/approle/login": {"auth": {"client_token": "t", "lease_duration": 60, "renewable": False}},
        }
    )
    assert api.sign_in_as(TOKEN, "acme").token == SecretStr("t")
    assert [asked.headers.get("X-Vault-Token") for asked in script.asked] == ["canary-token", "canary-token", None]
    assert body_of(script.asked[-1]) == {"role_id": "r", "secret_id": "s"}


@pytest.mark.parametrize(("answered_s", "prolonged"), [(3600, True), (7200, True), (3599, False)])
def test_a_renewal_counts_if_it_is_as_long_as_the_lease_was(answered_s: int, prolonged: bool) -> None:
    api, _ = scripted({"/v1/auth/token/renew-self": {"auth": {"lease_duration": answered_s, "renewable": True}}})
    lease = TokenLease(TOKEN, -2400.0, 3600.0, renewable=True)
    renewed = TokenLease(TOKEN, 0.0, answered_s, renewable=True)
    assert api.renew(lease) == (renewed if prolonged else None)


@pytest.mark.parametrize("status", [400, 403])
def test_a_renewal_that_is_refused_is_none(status: int) -> None:
    api, _ = scripted({"/v1/auth/token/renew-self": status})
    assert api.renew(TokenLease(TOKEN, 0.0, 3600.0, renewable=True)) is None


def test_a_renewal_that_a_sealed_vault_does_not_answer_is_told() -> None:
    api, _ = scripted({"/v1/auth/token/renew-self": 503})
    with pytest.raises(CredentialsUnavailable, match="sealed"):
        api.renew(TokenLease(TOKEN, 0.0, 3600.0, renewable=True))


def test_a_secret_id_is_unwrapped_after_a_look_at_where_it_was_wrapped() -> None:
    api, script = scripted(
        {
            "/v1/sys/wrapping/lookup": {"data": {"creation_path": "auth/approle/role/adsyncd/secret-id"}},
            "/v1/sys/wrapping/unwrap": {"data": {"secret_id": "s"}},
        }
    )
    assert api.unwrap(TOKEN) == SecretStr("s")
    assert [asked.path_url for asked in script.asked] == ["/v1/sys/wrapping/lookup", "/v1/sys/wrapping/unwrap"]


@pytest.mark.parametrize(
    "path",
    [
        "secret/data/adsyncd/acme",
        "auth/approle/role/adsyncd/role-id",
        "auth/approle/role/adsyncd/secret-id/lookup",
        "auth/approle/role/a/b/secret-id",
        "kv/auth/approle/role/adsyncd/secret-id",
        "auth/approle/role/adsyncd/secret-id\n",
        "sys/wrapping/wrap",
        "",
    ],
)
def test_what_was_not_wrapped_as_a_secret_id_is_not_unwrapped(path: str) -> None:
    api, script = scripted({"/v1/sys/wrapping/lookup": {"data": {"creation_path": path}}})
    with pytest.raises(CredentialsMissing, match="was not made at auth/approle/role/ROLE/secret-id") as caught:
        api.unwrap(TOKEN)
    assert caught.value.state == VaultState.UNWRAPPED
    assert len(script.asked) == 1


def test_the_version_of_a_secret_is_asked_for_without_the_secret() -> None:
    api, script = scripted({"/v1/kv/metadata/adsyncd/acme": {"data": {"current_version": 7, "versions": {}}}})
    assert api.version(TOKEN, "the daemon", "adsyncd/acme") == 7
    assert [asked.path_url for asked in script.asked] == ["/v1/kv/metadata/adsyncd/acme"]


@pytest.mark.parametrize("answer", [{}, [], {"data": None}, {"data": {"data": "canary", "metadata": {}}}, "canary"])
def test_what_is_no_answer_of_vault_s_is_told_without_a_word_of_it(answer: object) -> None:
    api, _ = scripted({"/v1/kv/data/adsyncd/acme": answer})
    with pytest.raises(CredentialsUnavailable, match="adsyncd/acme can't be read") as caught:
        api.secret(TOKEN, "the daemon", "adsyncd/acme")
    assert not caught.value.state  # of Vault as a whole it says nothing
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(max_value=10**9 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@given(ttl=JSON | st.integers(-5, 5) | st.sampled_from([1e-300, 1e308, "3600", 10**400]), late_s=st.floats(0, 10))
def test_a_token_s_life_is_whole_seconds_that_are_not_over_or_it_is_a_state_of_vault_s(
    ttl: object, late_s: float
) -> None:
    api, _ = scripted({"/v1/auth/token/lookup-self": {"data": {"ttl": ttl}}})
    looks = iter((0.0, late_s))
    api._clock = SimpleNamespace(monotonic=lambda: next(looks))
    if type(ttl) is int and (ttl == 0 or late_s < ttl < 1e9):
        lease = api.look_up(TOKEN)
        assert lease.duration_s == ttl
        assert lease.due_s(0.0) > 0
    else:
        with pytest.raises(CredentialsUnavailable) as caught:
            api.look_up(TOKEN)
        short = type(ttl) is int and 0 < ttl <= late_s
        assert caught.value.state == (VaultState.TOO_SHORT if short else VaultState.FAILING)


def test_a_renewal_that_was_over_when_it_arrived_means_a_new_sign_in() -> None:
    api, _ = scripted({"/v1/auth/token/renew-self": {"auth": {"lease_duration": 60}}})
    looks = iter((0.0, 61.0))
    api._clock = SimpleNamespace(monotonic=lambda: next(looks))
    assert api.renew(TokenLease(TOKEN, 0.0, 60, renewable=True)) is None


@pytest.mark.parametrize("token", ["", "line\nbreak", "é", "\ud800"])
def test_a_token_that_no_header_can_carry_is_not_taken(token: str) -> None:
    api, _ = scripted({"/v1/auth/approle/login": {"auth": {"client_token": token, "lease_duration": 60}}})
    with pytest.raises(CredentialsUnavailable, match="does not answer as Vault does"):
        api.sign_in("role", SecretStr("secret-id"))


def test_an_engine_of_the_first_version_is_named_with_what_fixes_it() -> None:
    api, _ = scripted({"/v1/kv/data/adsyncd/acme": {"data": {"email": "a@b.example", "password": "canary"}}})
    with pytest.raises(CredentialsMissing, match=r"KV version 1 .*enable-versioning kv") as caught:
        api.secret(TOKEN, "the daemon", "adsyncd/acme")
    assert caught.value.state == VaultState.MISSING
    assert "canary" not in str(caught.value)
