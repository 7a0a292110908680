import os

import pytest
from pydantic import SecretStr

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.environment import read_environment
from adsyncd.errors import CredentialsMissing


def test_the_prefix_leads_to_two_variables() -> None:
    environ = {"ACME_EMAIL": "ads@acme.example", "ACME_PASSWORD": "pw", "GLOBEX_PASSWORD": "other"}
    assert read_environment("ACME", environ) == Credentials("ads@acme.example", SecretStr("pw"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "set ACME_EMAIL and ACME_PASSWORD"),
        ({"ACME_EMAIL": "", "ACME_PASSWORD": ""}, "set ACME_EMAIL and ACME_PASSWORD"),
        ({"ACME_PASSWORD": "canary"}, "set ACME_EMAIL"),
        ({"ACME_EMAIL": "canary", "ACME_PASSWORD": ""}, "set ACME_PASSWORD"),
        ({"ACME_EMAIL": "a", "ACME_PASSWORD": "\n"}, "ACME_PASSWORD is empty"),
        ({"ACME_EMAIL": "a", "ACME_PASSWORD": os.fsdecode(b"canary\xe4")}, "ACME_PASSWORD is not UTF-8 text"),
    ],
)
def test_variables_that_are_not_set_or_hold_no_text_are_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(CredentialsMissing, match=words) as caught:
        read_environment("ACME", environ)
    assert "canary" not in str(caught.value)
