from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adsyncd.config import profile_types


def refuses(kind: Any, value: object) -> bool:  # noqa: ANN401 - no type covers what Annotated makes
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            profile_types.ApiPath,
            [
                *("/", "/v1/{account}/x", "/v1/a.b/..c?q=(a:List(B,C))&f[x]=1%20", "/{var.region}/{id}"),
                "/x?" + "a" * 4000,
            ],
            ["", "v1", "//host/x", "/a/../b", "/..", "/a/.", "/a b", "/a\n", "/a#b", "/a\\b", "/é", "/{A}", "/" * 5000],
        ),
        (
            profile_types.SignInUrl,
            ["/token", "https://auth.example.com", "https://auth.example.com:8443/{account}/token?a=b"],
            [
                *("ftp://host/x", "https://", "https://u:p@host/", "https://h/a#b", "https://{account}/x"),
                *("https://a.{var.region}.com/x", "https://h/a b", "https://h/../x", "//host/x", "token"),
            ],
        ),
        (profile_types.HeaderFieldName, ["X-Api-Key", "a" * 256], ["", "X Y", "X:", "X\r\nY", "é", "a" * 257]),
        (
            profile_types.HeaderFields,
            [{"X-A": "a b"}, {"X-A": "a" * 1024}, {}],
            [{"X-A": ""}, {"X-A": " a"}, {"X-A": "a "}, {"X-A": "a\r\nX-B: 1"}, {"X-A": "é"}, {"X-A": "a" * 1025}],
        ),
        (profile_types.SecretName, ["access_token", "a" * 63], ["", "A", "1a", "a-b", "a b", "a" * 64]),
        (
            profile_types.ValuePath,
            ["id", "a.b c.é", "a*.b", "$"],
            ["", ".", "a.", ".a", "a..b", "*", "a.*.b", "a" * 1025],
        ),
        (profile_types.RecordsPath, ["", "data.items"], [".", "a..b", "*"]),
        (profile_types.Scale, [1e-6, 0.01, 100], [0, -1.0, float("inf"), float("nan"), "1", True]),
    ],
)
def test_what_a_value_may_be(kind: object, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if refuses(kind, value)] == []
    assert [value for value in bad if not refuses(kind, value)] == []
