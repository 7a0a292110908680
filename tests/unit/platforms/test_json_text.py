import json

import pytest

from adsyncd.errors import BadAnswer
from adsyncd.platforms.json_text import compact, parsed


def test_json_is_kept_compact_in_ascii_and_with_sorted_keys() -> None:
    assert compact({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"\\u00fc","b":[1,2.5,null]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_not_kept(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        compact({"a": [number]})


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": [1.5, true, null]}', {"a": 1, "b": [1.5, True, None]}),
        (b"\xef\xbb\xbf[7]", [7]),
        (b"[NaN, -Infinity, 1e999]", ["NaN", "-Infinity", "1e999"]),
        (b"[" + b"9" * 4301 + b"]", ["9" * 4301]),
        (b'["Gr\xf6\xdfe"]', ["Gr\udcf6\udcdfe"]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_what_cannot_be_held_spoils_its_own_value_alone(body: bytes, value: object) -> None:
    assert parsed(body) == value


def test_what_is_nested_too_deeply_is_a_text() -> None:
    deep = parsed(b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b', "b": 7}')
    assert isinstance(deep, dict)
    assert deep["b"] == 7
    assert '"nested too deeply"' in json.dumps(deep["a"])


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"a": 1}{', '{"a": 1}'.encode("utf-16"), b"[" * 50_000])
def test_what_is_no_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        parsed(body)


def test_very_many_objects_are_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match="100,000"):
        parsed(b"[" + b"{}," * 100_000 + b"{}]")
