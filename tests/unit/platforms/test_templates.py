import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.platforms.templates import filled, in_json, route

VALUES = {"account": "act/1", "var.region": "eu", "secret.key": "s}{account}"}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("plain", "plain"),
        ("/v1/{account}/{var.region}", "/v1/act/1/eu"),
        ("{secret.key}{account}", "s}{account}act/1"),  # a value is no template
        ("{id} {other.name} {} {ACCOUNT} {account", "{id} {other.name} {} {ACCOUNT} {account"),
    ],
)
def test_a_placeholder_is_filled_once_and_an_unknown_one_stays(text: str, whole: str) -> None:
    assert filled(text, VALUES) == whole


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/campaigns", "/api/campaigns"),
        ("/v1/{account}/c/{id}/sync?id={id}", "/v1/{account}/c/{campaign_id}/sync"),
    ],
)
def test_a_route_is_a_path_with_its_placeholders(path: str, template: str) -> None:
    assert route(path) == template


def test_only_the_values_are_quoted() -> None:
    assert filled("/a/{account}?x=1", VALUES, lambda value: quote(value, safe="")) == "/a/act%2F1?x=1"


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_in_a_json_text_is_itself_again(value: str) -> None:
    body = filled('{"a": "{account}", "b": {"c": 1}}', {"account": value}, in_json)
    assert json.loads(body) == {"a": value, "b": {"c": 1}}
