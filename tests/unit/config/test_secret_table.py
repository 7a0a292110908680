from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from adsyncd.config.diagnostics import faults
from adsyncd.config.secret_table import Secret, SecretRef
from adsyncd.config.settings import TokenAuth
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace

ADAPTER: TypeAdapter[SecretRef] = TypeAdapter(Secret)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"credential": "token"}, InCredential("token")),
        ({"env": "TOKEN"}, InVariable("TOKEN")),
        ({"file": "/run/token"}, InFile(Path("/run/token"))),
    ],
)
def test_a_secret_is_in_one_place(keys: dict[str, str], place: SecretPlace) -> None:
    assert ADAPTER.validate_python(keys).place() == place


@pytest.mark.parametrize("wrong", ["canary", {}, {"env": "A", "file": "/canary"}, {"file": "canary"}])
def test_a_secret_itself_or_several_places_are_refused_without_a_word_of_it(wrong: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TokenAuth.model_validate({"method": "token", "token": wrong})
    assert "canary" not in f"{caught.value} {faults(caught.value, TokenAuth)}"
