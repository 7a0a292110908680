"""The style sheet, the script and the icon."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from adsyncd.control.page.assets import asset, versioned

NAMES = ("page.css", "page.js", "icon.svg")


def request(query: str = "", tag: str = "") -> Request:
    headers = [(b"if-none-match", tag.encode())] if tag else []
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": query.encode()})


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_is_kept_for_as_long_as_its_version_is_asked_for(name: str) -> None:
    query = urlsplit(versioned(name)).query
    assert parse_qs(query)["v"]
    answer = asset(request(query), name)
    assert "immutable" in answer.headers["cache-control"]
    assert asset(request("v=older"), name).headers["cache-control"] == "no-cache"
    known = asset(request(query, answer.headers["etag"]), name)
    assert (known.status_code, known.body) == (304, b"")


@pytest.mark.parametrize("name", ["page.py", "../words.py", "", "%2e%2e/frame.py"])
def test_nothing_else_is_an_asset(name: str) -> None:
    with pytest.raises(HTTPException):
        asset(request(), name)


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_asks_nothing_of_anyone_else(name: str) -> None:
    text = bytes(asset(request(), name).body).decode()
    assert not [url for url in re.findall(r"https?://[^\"' )]*", text) if not url.startswith("http://www.w3.org/")]
    assert "url(" not in text
    assert "@import" not in text


def test_the_script_is_short_and_evaluates_nothing() -> None:
    text = bytes(asset(request(), "page.js").body).decode()
    assert len(text.splitlines()) <= 100
    for word in ("innerHTML", "eval(", "Function(", "document.write", "insertAdjacentHTML"):
        assert word not in text
