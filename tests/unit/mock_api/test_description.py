from typing import Any

import pytest
from pydantic import ValidationError

from mock_api.description import ApiDescription, Means

LEAST: dict[str, Any] = {
    "sign_in": {"static": "key"},
    "list": {"path": "/campaigns", "records": "data"},
    "fields": {"id": "id"},
}


def test_the_document_of_a_profile_describes_an_api() -> None:
    about = ApiDescription.model_validate(
        LEAST
        | {
            "sign_in": {"url": "https://accounts.example.com/oauth/token", "form": {"key": "{secret.key}"}},
            "fields": {"id": ["campaign.id", "id"], "budget": {"path": "micros", "scale": 1e-6}, "volatile": ["x"]},
            "answers": [{"means": "later", "path": "code", "values": [[5000, 5999], 7]}],
            "limits": {"waits": [{"path": "retry"}]},
        }
    )
    assert about.sign_in.path == "/oauth/token"
    assert [(name, field.path) for name, field in about.fields_.described()] == [
        ("id", ("campaign.id", "id")),
        ("budget", ("micros",)),
    ]
    later = about.answer(Means.LATER)
    assert later is not None
    assert later.values == (5000, 7)
    assert about.answer(Means.REFUSED) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"push": {"path": "/push"}}, "push"),
        ({"sign_in": {}}, "exactly one of static and url"),
        ({"sign_in": {"static": "key", "url": "/token"}}, "exactly one of static and url"),
        ({"list": {"path": "/campaigns"}}, "records"),
        ({"fields": {"id": "id", "nme": "name"}}, "nme"),
    ],
)
def test_what_the_platform_can_not_serve_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ApiDescription.model_validate(LEAST | change)
