"""Templates: what strangers wrote stays text, and what is missing is an error."""

import subprocess
import sys

import jinja2
import pytest
from starlette.requests import Request

from adsyncd.control.page import rendering
from adsyncd.control.page.frame import frame
from adsyncd.control.page.rendering import POLICY, html, render
from support.drawn import UP, well_formed
from support.records import NOON

HOSTILE = "<script>alert(1)</script>\"'&\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m"
AROUND = frame("A title", host="host", daemon=UP, now=NOON)


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": pairs})


def error_page(words: str) -> str:
    return render("error.html", frame=AROUND, sentence=words, detail=words, fix=words)


def test_hostile_words_are_text_with_their_controls_shown() -> None:
    page = well_formed(error_page(HOSTILE))
    assert page.tags.count("script") == 1
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
    assert r"<script>alert(1)</script>" in page.text
    assert r"\u202e\x1b[31m" in page.text


def test_a_missing_value_is_an_error_and_never_a_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("error.html", frame=AROUND, sentence="x", detail="y")


def test_no_template_marks_words_as_safe_or_has_a_style_or_a_script_of_its_own() -> None:
    environment = rendering._environment()
    names = environment.list_templates()
    assert len(names) >= 4
    for name in names:
        assert environment.loader
        text = environment.loader.get_source(environment, name)[0]
        for word in ("safe", "autoescape", "style=", "onclick", "javascript:", "Markup"):
            assert word not in text, name


def test_every_page_keeps_to_the_policy() -> None:
    answer = html(request(), "error.html", AROUND, 404, sentence="x", detail="y", fix="")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_page_whose_content_is_known_is_not_sent_again() -> None:
    first = html(request(), "error.html", AROUND, sentence="x", detail="y", fix="")
    again = html(request(if_none_match=first.headers["etag"]), "error.html", AROUND, sentence="x", detail="y", fix="")
    other = html(request(if_none_match=first.headers["etag"]), "error.html", AROUND, sentence="z", detail="y", fix="")
    assert (first.status_code, again.status_code, again.body, other.status_code) == (200, 304, b"", 200)
    later = frame("A title", host="host", daemon=UP, now=NOON.replace(minute=1))
    ticked = html(request(if_none_match=first.headers["etag"]), "error.html", later, sentence="x", detail="y", fix="")
    assert ticked.status_code == 304  # the clock alone went on


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert html(request(), "error.html", AROUND, sentence="x\ud800", detail="y", fix="").status_code == 200


def test_a_daemon_that_nobody_looks_at_imports_no_templates() -> None:
    told = "import sys, adsyncd.daemon.service as _; print(sorted({'jinja2', 'markupsafe'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True).stdout == "[]\n"
