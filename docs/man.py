"""Writes the manual pages from `--help`, docs/configuration.md and docs/profiles.md: `python docs/man.py FOLDER`.

adsyncd(1) has every command with its options; adsyncd.toml(5) and adsyncd-tenant(5) are the two halves of
docs/configuration.md; adsyncd-profile(5) has the keys of a profile.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import typer
from sqlalchemy import make_url
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

import adsyncd
from adsyncd import cli
from adsyncd.config import DEFAULT_PATH, Settings

CONFIGURATION = Path(__file__).parent / "configuration.md"
PROFILES = Path(__file__).parent / "profiles.md"
SEE_ALSO = ("adsyncd(1)", "adsyncd.toml(5)", "adsyncd-tenant(5)", "adsyncd-profile(5)")


def pages() -> dict[str, str]:
    """Return each manual page by the name of its file."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    _, settings, tenants = re.split(r"^## (?:Settings|Tenants)$", text, flags=re.MULTILINE)
    _, keys, _ = re.split(r"^## (?:Keys|Use it)$", PROFILES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        "adsyncd.1": _page("adsyncd(1)", "keeps ad campaigns in step with ad platforms", _command()),
        "adsyncd.toml.5": _page("adsyncd.toml(5)", "settings of adsyncd", _article(settings)),
        "adsyncd-tenant.5": _page("adsyncd-tenant(5)", "drop-in files of adsyncd's tenants", _article(tenants)),
        "adsyncd-profile.5": _page("adsyncd-profile(5)", "profiles of ad platforms for adsyncd", _article(keys)),
    }


def _page(name: str, purpose: str, body: Iterator[str]) -> str:
    title, section = name.rstrip(")").split("(")
    lines = [
        f'.TH {title.upper()} {section} "" "adsyncd {adsyncd.__version__}"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escaped(title)} \\- {purpose}",
        *body,
        ".SH SEE ALSO",
        ", ".join(f"\\fB{_escaped(other[:-3])}\\fR{other[-3:]}" for other in SEE_ALSO if other != name),
    ]
    return "\n".join(lines) + "\n"


# The command


def _command() -> Iterator[str]:
    root = typer.main.get_command(cli.application())
    assert isinstance(root, TyperGroup)  # noqa: S101 - it has subcommands
    yield from (".SH SYNOPSIS", "\\fBadsyncd\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...", ".SH DESCRIPTION")
    yield from _paragraphs(root.help or "")
    yield ".SH COMMANDS"
    for path, command in _commands(root, "adsyncd"):
        yield from _usage(path, command)
    yield ".SH EXIT STATUS"
    codes = " ".join((cli.__doc__ or "").partition("Exit codes: ")[2].split()).rstrip(".")
    for code, _, meaning in (line.partition(" ") for line in codes.split("; ")):
        yield from (".TP", f"\\fB{code}\\fR", _inline(meaning))
    settings = Settings()
    yield ".SH FILES"
    for file, what in {
        DEFAULT_PATH: "the settings: adsyncd.toml(5)",
        settings.tenants_dirs[0]: "a drop-in file for each tenant: adsyncd-tenant(5)",
        make_url(settings.store.url).database: "the database",
        settings.control.socket: "the socket for status and commands",
    }.items():
        yield from (".TP", f"\\fI{_escaped(str(file))}\\fR", what)


def _commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand]]:
    """Yield all commands without subcommands, in the order of `--help`."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{path} {name}", command


def _usage(path: str, command: TyperCommand) -> Iterator[str]:
    arguments = [f"\\fI{_value(one)}\\fR" for one in command.params if isinstance(one, TyperArgument)]
    yield " ".join([f".SS {_escaped(path)}", *arguments])
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    for one in command.params:
        if isinstance(one, TyperOption):
            names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in (*one.opts, *one.secondary_opts))
            yield from (".TP", names if one.is_flag else f"{names} \\fI{_value(one)}\\fR", _inline(_told(one)))


def _value(parameter: TyperArgument | TyperOption) -> str:
    name = _escaped(parameter.metavar or (parameter.name or "").upper())
    return name if parameter.required or isinstance(parameter, TyperOption) else f"[{name}]"


def _told(option: TyperOption) -> str:
    default = option.default
    stated = "" if option.is_flag or default is None or callable(default) else f" Default: `{default}`."
    variable = f" Also by the variable `{option.envvar}`." if option.envvar else ""
    return f"{option.help or ''}{stated}{variable}"


# The subset of Markdown in docs/configuration.md


def _article(text: str) -> Iterator[str]:
    yield ".SH DESCRIPTION"
    for number, part in enumerate(re.split(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)):
        if number % 2:
            yield from (".PP", ".RS 4", ".EX", *(_line(_escaped(line)) for line in part.splitlines()), ".EE", ".RE")
        else:
            yield from _block(part.splitlines())


def _block(lines: Sequence[str]) -> Iterator[str]:
    for kind, group in groupby(lines, _kind):
        part = list(group)
        match kind:
            case "heading":
                yield from (f".SS {_inline(line.lstrip('# '))}" for line in part)
            case "row":
                yield from _table([[cell.strip() for cell in line.strip("| ").split(" | ")] for line in part])
            case "item":
                items = re.split(r"(?:^|\n)- ", "\n".join(part))[1:]
                for item in items:
                    yield from (".IP \\(bu 2", _inline(" ".join(item.split())))
            case "text":
                yield from _paragraphs("\n".join(part))


def _kind(line: str) -> str:
    if not line:
        return "gap"
    if line.startswith("#"):
        return "heading"
    if line.startswith("|"):
        return "row"
    return "item" if line.startswith(("- ", "  ")) else "text"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    header, _, *entries = rows
    for term, *cells in entries:
        yield from (".TP", _inline(term))
        if header[1:] == ["default", "meaning"]:
            default, what = cells[0], " | ".join(cells[1:])
            yield _inline(f"{what} ({'no default' if default == 'none' else default})")
        else:
            yield _inline("; ".join(f"{name}: {cell}" for name, cell in zip(header[1:], cells, strict=True)))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        yield from (".PP", _inline(" ".join(paragraph.split())))


def _inline(text: str) -> str:
    """Make code and strong words bold, and replace links with their text."""
    words = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("\\", "\\e")
    return _line(re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", _bold, words))


def _bold(found: re.Match[str]) -> str:
    return f"\\fB{_hyphens(found[1] or found[2])}\\fR"


def _escaped(text: str) -> str:
    return _hyphens(text.replace("\\", "\\e"))


def _hyphens(text: str) -> str:
    """Escape hyphens, so that groff prints them as the character to type."""
    return text.replace("-", "\\-")


def _line(text: str) -> str:
    """Escape a text that would start like a groff request."""
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")
