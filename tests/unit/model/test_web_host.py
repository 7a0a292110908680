import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.model.web_host import WebHost, read_host


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("localhost", "localhost", None),
        ("LOCALHOST:8090", "localhost", 8090),
        ("localhost.", "localhost", None),
        ("localhost.:80", "localhost", 80),
        ("localhost..", "localhost.", None),
        ("localhost:", "localhost", None),
        ("localhost:0", "localhost", 0),
        ("localhost:00000080", "localhost", 80),
        ("localhost:65535", "localhost", 65535),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]", "[::1]", None),
        ("[0:0:0:0:0:0:0:1]:8090", "[::1]", 8090),
        ("[2001:DB8::A]", "[2001:db8::a]", None),
        ("[v1.Fe80]", "[v1.fe80]", None),
        ("", "", None),
        (":8090", "", 8090),
        ("%6cocalhost", "%6cocalhost", None),  # an escape is not decoded, so it is another name
        ("localhost,evil.example", "localhost,evil.example", None),
        ("*", "*", None),
    ],
)
def test_a_host_is_read_in_one_form(text: str, name: str, port: int | None) -> None:
    assert read_host(text) == WebHost(name, port)


@pytest.mark.parametrize(
    "text",
    [
        "user@localhost",
        "user:pw@localhost",
        "localhost:8090:1",
        "localhost:http",
        "localhost:-1",
        "localhost:+80",
        "localhost:8 0",
        "localhost:٨٠",
        "localhost:65536",
        "localhost:" + "9" * 5000,
        "local host",
        " localhost",
        "localhost\n",
        "localhost\t",
        "localhost\x00",
        "localhost, evil.example",
        "localhost/",
        "localhost/v1",
        "localhost?",
        "localhost#",
        "localhost\\",
        "http://localhost",
        "//localhost",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]]",
        "[[::1]]",
        "[]",
        "[127.0.0.1]",
        "[localhost]",
        "[::1%25eth0]",
        "[::1%eth0]",
        "[v1]",
        "%",
        "%zz",
        "%6",
        "lócalhost",
        "\uff4cocalhost",
        '"localhost"',
        "<localhost>",
    ],
)
def test_what_is_not_a_host_is_not_read(text: str) -> None:
    assert read_host(text) is None


@pytest.mark.parametrize("name", ["localhost", "a", "a.b", "[::1]", "x_1.y-2", "127.0.0.1", "x" * 253])
def test_a_name_of_dns_and_an_address_are_usable(name: str) -> None:
    assert WebHost(name).is_usable


@pytest.mark.parametrize("name", ["", ".", "a.", "a..b", "-a", "a-", "a.-b", "a,b", "%61", "*", "x" * 254])
def test_what_dns_can_t_hold_is_not_usable(name: str) -> None:
    assert not WebHost(name).is_usable


@given(st.text(max_size=30) | st.text(alphabet="[]:.%@-1aA,/ \n", max_size=30))
def test_any_text_is_read_or_not_and_what_is_read_is_read_again_as_the_same(text: str) -> None:
    found = read_host(text)
    if found is None:
        return
    assert not set(found.name) & set(string.whitespace + "/?#@\\")
    port = "" if found.port is None else f":{found.port}"
    again = read_host(f"{found.name}{port}")
    assert again == WebHost(found.name.removesuffix("."), found.port)


@given(st.ip_addresses(v=6), st.none() | st.integers(0, 65535))
def test_each_spelling_of_an_ipv6_address_is_the_same_host(address: ipaddress.IPv6Address, port: int | None) -> None:
    end = "" if port is None else f":{port}"
    assert read_host(f"[{address.exploded.upper()}]{end}") == read_host(f"[{address}]{end}")


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(0, 65535))
def test_case_a_dot_at_the_end_and_a_port_do_not_change_the_name(name: str, port: int) -> None:
    assert read_host(f"{name.upper()}.:{port}") == WebHost(name, port)
