import pytest
from pydantic import SecretStr

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.environment import read_environment
from adsyncd.errors import CredentialsMissing


def test_the_prefix_leads_to_two_variables() -> None:
    environ = {"ACME_EMAIL": "ads@acme.example", "ACME_PASSWORD": "pw", "GLOBEX_PASSWORD": "other"}
    assert read_environment("ACME", environ) == Credentials("ads@acme.example", SecretStr("pw"))


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(CredentialsMissing, match="ACME_EMAIL and ACME_PASSWORD") as caught:
        read_environment("ACME", {"ACME_PASSWORD": "canary"})
    assert "canary" not in str(caught.value)
