import pytest
from pydantic import JsonValue

from mock_api.templates import match, put


@pytest.mark.parametrize(
    ("template", "sent", "found"),
    [
        ("/v2/{account}/list", "/v2/act_1/list", {"account": "act_1"}),
        ("/v2/{account}/list", "/v2/a/b/list", None),
        ("/v2/{account}", "/v2/", None),
        ("/v2.1", "/v2x1", None),
        ("{account}-{account}", "a-a", {"account": "a"}),
        ("{account}-{account}", "a-b", None),
        ("key {secret.app_key}", "key 1//0&?", {"secret.app_key": "1//0&?"}),
        ({"a": "{account}", "b": [1, "{var.x}"]}, {"a": "1", "b": [1, "2"], "c": 3}, {"account": "1", "var.x": "2"}),
        ({"a": "{account}"}, {"a": 1}, None),
        ({"a": "{account}"}, {}, None),
        ({"a": "1"}, ["a"], None),
        ([1], [1, 2], None),
        ([1], "1", None),
        (True, True, {}),
    ],
)
def test_what_was_sent_fits_or_not_and_has_the_values_of_placeholders(
    template: JsonValue, sent: JsonValue, found: dict[str, str] | None
) -> None:
    assert match(template, sent) == found


def test_values_are_put_at_paths_beside_each_other() -> None:
    body = put(put(put({}, "data.list", [1]), "data.page.next", "x"), "code", 0)
    assert body == {"data": {"list": [1], "page": {"next": "x"}}, "code": 0}
    assert put({}, "", [1]) == [1]
