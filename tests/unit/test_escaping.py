import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.escaping import escaped, escaped_lines

ANY = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs, too


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, 世界 🎉 [bold]\\n", "Grüße, 世界 🎉 [bold]\\n"),
        ("\x1b]52;c;cm0gLXJmIC8=\x07", "\\x1b]52;c;cm0gLXJmIC8=\\x07"),
        ("a\r\nfake: line\tb\x7f\x00", "a\\r\\nfake: line\\tb\\x7f\\x00"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\u202e\u2066\u200b\u2028\u2029\ufeff", "\\u202e\\u2066\\u200b\\u2028\\u2029\\ufeff"),
        ("\ud800\udcff\U000e0041", "\\ud800\\udcff\\U000e0041"),
    ],
)
def test_what_does_not_print_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(ANY)
def test_nothing_reaches_a_terminal_that_does_not_print(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(escaped(text)) == escaped(text)
    assert escaped_lines(text).count("\n") == text.count("\n")
    assert all(line.isprintable() for line in escaped_lines(text).split("\n"))
    escaped_lines(text).encode()
