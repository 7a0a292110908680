import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adsyncd.platforms.words import Secrets, words

PASSWORD = "Correct-Horse/7 é+battery"


def knowing(*secrets: str) -> Secrets:
    known = Secrets()
    known.learn(*map(SecretStr, secrets))
    return known


def in_base64(before: str, after: str = "") -> Callable[[str], str]:
    return lambda secret: base64.b64encode(f"{before}{secret}{after}".encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "in small letters": str.lower,
    "in capitals": str.upper,
    "base64": in_base64(""),
    "base64 behind a user": in_base64("user@example.com:"),
    "base64 within": in_base64("ab", "cd"),
    "base64 of URLs": lambda secret: base64.urlsafe_b64encode(f"x{secret}".encode()).decode().rstrip("="),
    "base64 in lines": lambda secret: base64.encodebytes(secret.encode() * 3).decode(),
    "percent signs": lambda secret: quote(secret, safe=""),
    "percent signs alone": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "percent signs twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "HTML": html.escape,
    "HTML entities": lambda secret: "".join(f"&#{ord(char)};" for char in secret),
    "HTML entities in hex": lambda secret: "".join(f"&#x{ord(char):X};" for char in secret),
    "JSON": json.dumps,
    "JSON escapes": lambda secret: "".join("".join(f"\\u{unit.hex()}" for unit in units(char)) for char in secret),
    "HTML in JSON": lambda secret: json.dumps(html.escape(secret)),
    "hex": lambda secret: secret.encode().hex(),
    "hex in pairs": lambda secret: secret.encode().hex(":").upper(),
    "with zero-width characters": "\u200b".join,
    "spaced": " ".join,
}


def units(char: str) -> list[bytes]:
    data = char.encode("utf-16-be")
    return [data[start : start + 2] for start in range(0, len(data), 2)]


printable = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=8, max_size=60)
around = st.text(st.sampled_from("?!. ([{")).map(lambda text: text[:40])


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=list(ENCODINGS))
@pytest.mark.parametrize("secret", [PASSWORD, "0123456789abcdef", "äöü-ÄÖÜ-ßßß", "!§$%&/()=?*#", "🙂🙂🙂🙂🙂🙂🙂🙂"])
def test_a_secret_is_not_shown_in_any_encoding(encoding: Callable[[str], str], secret: str) -> None:
    assert knowing(secret).shown(f"you sent {encoding(secret)}!") == ""


@given(encoding=st.sampled_from(list(ENCODINGS.values())), secret=printable, before=around, after=around)
def test_no_secret_is_shown_in_any_encoding_wherever_it_stands(
    encoding: Callable[[str], str], secret: str, before: str, after: str
) -> None:
    assert knowing("another-one", secret).shown(before + encoding(secret) + after) == ""


@given(secret=printable, where=st.integers(0, 52), before=around, after=around)
def test_eight_characters_of_a_secret_are_as_good_as_all(secret: str, where: int, before: str, after: str) -> None:
    start = min(where, len(secret) - 8)
    assert knowing(secret).shown(f"{before}{secret[start : start + 8]}{after}") == ""


@given(secret=st.text(min_size=1, max_size=40), text=st.text(), where=st.integers(0, 300))
def test_no_secret_whatever_is_in_what_is_shown(secret: str, text: str, where: int) -> None:
    assert secret not in knowing(secret).shown(text[:where] + secret + text[where:])


@pytest.mark.parametrize("secret", ["a", "hunter2", "pw-1", "a.b"])
@pytest.mark.parametrize("encoding", ["as it is", "base64", "HTML entities", "JSON escapes", "percent signs alone"])
def test_a_short_secret_is_compared_whole(secret: str, encoding: str) -> None:
    assert knowing(secret).shown(f"- {ENCODINGS[encoding](secret)} -") == ""
    assert knowing(secret).shown("- 14 % -") == "- 14 % -"


def test_of_many_secrets_the_latest_are_known_and_what_is_in_use_stays() -> None:
    known = knowing("password-in-use")
    for number in range(100):
        known.learn(SecretStr("password-in-use"), SecretStr(f"{number:03}-token-{number:03}"))
    assert known.shown("password-in-use") == known.shown("099-token-099") == known.shown("090-token-090") == ""
    assert known.shown("nothing-of-it") == "nothing-of-it"
    assert len(known._kept) == 16
    known.learn(SecretStr("password-in-use"), *(SecretStr(f"{number:03}-newer-{number:03}") for number in range(15)))
    assert known.shown("password-in-use") == ""


def test_secrets_in_use_are_never_forgotten_however_many_they_are() -> None:
    known, many = Secrets(), [f"{number:02}-secret-{number:02}" for number in range(40)]
    known.use("credentials", *map(SecretStr, many))
    for number in range(100):
        known.use("token", SecretStr(f"{number:03}-token-{number:03}"))
    assert [known.shown(secret) for secret in (*many, "099-token-099", "090-token-090")] == [""] * 42
    known.use("credentials", SecretStr("another-one"))
    assert [known.shown(secret) for secret in (*many, "another-one")] == [""] * 41
    for number in range(100):
        known.use("token", SecretStr(f"{number:03}-newer-{number:03}"))
    assert known.shown(many[0]) == many[0]
    assert len(known._kept) == 16


@pytest.mark.parametrize("secret", ["with space/and+plus=", 'quo"te\\d\nlines', "\u00e4\u00f6-\u20ac-\u00fcml\u00e4ut"])
@pytest.mark.parametrize("sent", [quote_plus, json.dumps, lambda secret: urlencode({"client_secret": secret})])
def test_a_secret_is_not_shown_as_a_sign_in_s_body_has_it(sent: Callable[[str], str], secret: str) -> None:
    assert knowing(secret).shown(f"bad request: {sent(secret)}") == ""


def test_secrets_do_not_show() -> None:
    assert PASSWORD not in repr(knowing(PASSWORD))
    assert PASSWORD not in repr(vars(knowing(PASSWORD)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\r\nlines\tand  more ", "two lines and more"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]52;c;aGk=\x07copied", "copied"),
        ("\x1b]0;title\x1b\\shown", "shown"),
        ("\x1bPdevice\x1b\\shown", "shown"),
        ("\x1b]52;c;no end", ""),
        ("\x1bcreset\x1b", "reset"),
        ("a\x00b\x08c\u202ed\u200be\ud800", "abcde"),
        ("x" * 5000, "x" * 200),
        ("\x1b[0m" * 100_000, ""),
    ],
)
def test_what_is_shown_is_one_line_cut_short_without_terminal_escapes_and_control_characters(
    text: str, shown: str
) -> None:
    assert knowing().shown(text) == shown


@given(text=st.text(st.characters() | st.sampled_from("\x1b[]\x9b;m\x07\\")))
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    shown = knowing().shown(text)
    assert shown.isprintable()
    assert len(shown) <= 200


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"error": "Unprocessable", "message": "no such budget", "trace": "x"}, "Unprocessable no such budget"),
        ({"error": {"message": "Please reduce the amount of data", "code": 1}}, "Please reduce the amount of data"),
        ({"error": {"code": 400, "errors": [{"message": "a"}, {"message": "b"}, "c"]}}, "a b c"),
        ({"type": "about:blank", "title": "Forbidden", "detail": "no budget"}, "Forbidden no budget"),
        ({"error": "invalid_request", "error_description": "no budget"}, "invalid_request no budget"),
        ({"error": "same", "message": "same"}, "same"),
        ({"errors": [str(number) for number in range(100)]}, "0 1 2 3 4"),
        ({"error": 7, "message": ["a"], "errors": {}}, ""),
        (["error"], ""),
        ("error", ""),
        (None, ""),
    ],
)
def test_words_are_looked_for_where_platforms_put_them(data: object, said: str) -> None:
    assert words(data) == said
