from pathlib import Path

import pytest
from pydantic import ValidationError

from adsyncd.config import Settings
from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.page_table import PageTable


def problem(**page: object) -> Diagnostic:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"page": page})
    [found] = diagnose(raised.value, Settings)
    return found


def test_without_a_table_only_this_machine_s_names_reach_the_page() -> None:
    assert PageTable() == PageTable(hosts=(), socket=None, group=None, trace_url=None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ads.example.com", "ads.example.com"),
        ("ADS.Example.com.", "ads.example.com"),
        ("ops_1", "ops_1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:DB8:0::7]", "[2001:db8::7]"),
    ],
)
def test_a_host_is_kept_in_the_form_in_which_it_is_compared(written: str, meant: str) -> None:
    assert PageTable(hosts=(written,)).hosts == (meant,)


@pytest.mark.parametrize(
    "written",
    [
        "https://ads.example.com",
        "ads.example.com/",
        "ads.example.com/page",
        "ads.example.com:8443",
        "ads.example.com:",
        "user@ads.example.com",
        "*.example.com",
        "*",
        "",
        ".",
        "a..b",
        ".example.com",
        "-a.example",
        "bücher.example",
        "ads example",
        "ads.example.com\n",
        "2001:db8::7",
        "[2001:db8::7",
        "x" * 254,
    ],
)
def test_what_is_not_a_host_name_alone_is_refused_with_the_fix(written: str) -> None:
    found = problem(hosts=["ads.example.com", written])
    assert found.key == ("page", "hosts", "1")
    assert found.what.startswith("expected a host name alone, without scheme, user, port and path, got ")
    assert found.fix == 'write for example "ads.example.com"'


@pytest.mark.parametrize(
    "url",
    [
        "https://traces.example.com/trace/{trace_id}",
        "http://127.0.0.1:16686/trace/{trace_id}",
        "https://traces.example.com/app#/trace/{trace_id}",
        "https://traces.example.com/explore?left=%7B%22query%22:%22{trace_id}%22%7D",
    ],
)
def test_the_address_of_a_trace_has_the_place_of_its_id(url: str) -> None:
    assert PageTable(trace_url=url).trace_url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://traces.example.com/trace", "has no {trace_id}"),
        ("https://traces.example.com/{trace}/{trace_id}/{}", "has unknown placeholders: {trace}, {}"),
        ("https://traces.example.com/{span_id}/{span_id}", "has unknown placeholders: {span_id}"),
        ("https://traces.example.com/{{trace_id}}", "has a brace that is not part of a placeholder"),
        ("https://traces.example.com/}{trace_id}", "has a brace that is not part of a placeholder"),
        ("https://{trace_id}.example.com/", "has {trace_id} in its host name"),
        ("https://{trace_id}@example.com/", "must not hold a user or a password"),
        ("https://traces.example.com/# {trace_id}", "must be printable ASCII without spaces"),
        ("javascript:alert('{trace_id}')", "expected an address that begins with https:// or http://"),
        ("//traces.example.com/{trace_id}", "expected an address that begins with https:// or http://"),
        ("https:///{trace_id}", "has no host"),
    ],
)
def test_another_address_of_a_trace_is_refused(url: str, words: str) -> None:
    found = problem(trace_url=url)
    assert found.key == ("page", "trace_url")
    assert found.what.startswith(words)


def test_a_group_needs_the_socket_that_it_is_for() -> None:
    found = problem(group="marketing")
    assert (found.key, found.what) == (("page", "group"), 'needs page.socket, which it is for, got "marketing"')
    assert problem(group="marketing", socket="page.sock").key == ("page", "socket")
    assert PageTable(socket=Path("/run/page.sock"), group="marketing").group == "marketing"
