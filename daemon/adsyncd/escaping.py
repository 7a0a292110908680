"""Escapes text from other parties for a terminal: a platform's ids, names and reasons, keys, file names, responses.

A terminal executes control sequences: they can write the clipboard, or hide or fake a line.
"""


def escaped(text: str) -> str:
    r"""Return a text in one line, with each unprintable character as its escape: `\n`, `\x1b`, `\u202e`.

    Characters that change the writing direction, have no width or are half a surrogate pair are escaped, too.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def escaped_lines(text: str) -> str:
    """Return a text with its line breaks kept and everything else escaped."""
    return "\n".join(map(escaped, text.split("\n")))
