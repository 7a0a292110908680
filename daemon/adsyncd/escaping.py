"""What others wrote, made fit for a terminal: ids, names and reasons of a platform, keys and names of files, answers.

A terminal obeys control characters: they can write the clipboard, hide a line or fake one.
"""


def escaped(text: str) -> str:
    r"""Return a text in one line, with each character that does not print as its escape: `\n`, `\x1b`, `\u202e`.

    That is also what turns the direction of writing, has no width, or is half a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def escaped_lines(text: str) -> str:
    """Return a text whose line breaks are meant to be such, with all else as `escaped` has it."""
    return "\n".join(map(escaped, text.split("\n")))
