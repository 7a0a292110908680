"""Writes the completions of shells from the commands of `--help`: `python docs/completions.py FOLDER`.

adsyncd.bash is for bash, _adsyncd for zsh and adsyncd.fish for fish. The shells' own parts are in
docs/completions/; what they complete is made here. For the names of tenants and platforms they run hidden commands.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from adsyncd import cli
from adsyncd.config.completed_names import COMPLETING

PARTS = Path(__file__).parent / "completions"
MADE = "# Made by docs/completions.py."
FILES = "@files"
TENANTS, STORED, PLATFORMS = COMPLETING
_OF_METAVAR = {
    "TENANT": TENANTS,
    "OLD": STORED,
    "NAME": PLATFORMS,
    **dict.fromkeys(("FILE", "PATH", "BODY.json"), FILES),
}
_OF_COMMAND = {"forget": {"TENANT": STORED}}  # it takes tenants without a drop-in


@dataclass(frozen=True, slots=True)
class Option:
    """An option by its names. `values`: words, FILES or hidden commands that complete its value; None if none."""

    names: Sequence[str]
    told: str
    values: Sequence[str] | None
    what: str = ""
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its path from `adsyncd`. `arguments`: the values of each; the last one may repeat."""

    path: str
    told: str
    options: Sequence[Option]
    arguments: Sequence[Sequence[str]] = ()
    repeats: bool = False
    commands: Sequence[tuple[str, str]] = ()


def completions() -> dict[str, str]:
    """Return each shell's completion by the name of its file."""
    root = typer.main.get_command(cli.application())
    assert isinstance(root, TyperGroup)  # noqa: S101 - it has subcommands
    commands = list(_commands(root, ""))
    made = {"adsyncd.bash": _bash, "_adsyncd": _zsh, "adsyncd.fish": _fish}
    return {name: _filled(name, "\n".join(make(commands))) for name, make in made.items()}


def _filled(name: str, lines: str) -> str:
    text = (PARTS / name).read_text(encoding="utf-8")
    return text.replace("@MADE@", f"{MADE}\n{lines}")


# What `--help` says


def _commands(command: TyperGroup | TyperCommand, path: str) -> Iterator[Command]:
    options = [_option(one) for one in command.params if isinstance(one, TyperOption) and not one.hidden]
    options.append(Option(["--help", "-h"], "Show this message and exit.", None))
    if isinstance(command, TyperGroup):
        shown = [
            (name, one)
            for name, one in command.commands.items()
            if isinstance(one, TyperGroup | TyperCommand) and not one.hidden
        ]
        yield Command(path, _told(command), options, commands=[(name, _told(one)) for name, one in shown])
        for name, one in shown:
            yield from _commands(one, f"{path} {name}".lstrip())
    else:
        arguments = [one for one in command.params if isinstance(one, TyperArgument) and not one.hidden]
        repeats = bool(arguments) and arguments[-1].nargs == -1
        yield Command(path, _told(command), options, [_values(one, path) for one in arguments], repeats)


def _told(command: TyperGroup | TyperCommand) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _option(one: TyperOption) -> Option:
    values = None if one.is_flag else _values(one)
    what = one.metavar or (one.name or "").upper()
    return Option([*one.opts, *one.secondary_opts], one.help or "", values, what, one.multiple)


def _values(one: TyperOption | TyperArgument, path: str = "") -> list[str]:
    """Return what completes a value: choices, or what the parts of its metavar such as TENANT... or a|b mean."""
    described = one.type_descriptor
    if described.is_choice:
        return [str(choice) for choice in described.choices or ()]
    parts = (one.metavar or "").removesuffix("...").split("|")
    known = _OF_METAVAR | _OF_COMMAND.get(path, {})
    return [known.get(part, part) for part in parts if part in known or part.islower()]


# bash: a function that sets the variables of the one that calls it, for the command in $path


def _bash(commands: Sequence[Command]) -> Iterator[str]:
    yield from ("_adsyncd_known() {", "    case $path in")
    for command in commands:
        names = [name for one in command.options for name in one.names]
        values = [
            f"[{name}]={_list(one.values)}" for one in command.options if one.values is not None for name in one.names
        ]
        yield from (f"        {quote(command.path)})", f"            options={_list(names)}")
        if command.commands:
            yield f"            commands={_list([name for name, _ in command.commands])}"
        if values:
            yield f"            values=({' '.join(values)})"
        if command.arguments:
            yield f"            arguments=({' '.join(map(_list, command.arguments))})"
        if command.repeats:
            yield "            repeats=1"
        yield "            ;;"
    yield from ("    esac", "}")


def _list(words: Sequence[str]) -> str:
    return quote(" ".join(words))


# zsh: a function for each command


def _zsh(commands: Sequence[Command]) -> Iterator[str]:
    for hidden in COMPLETING:
        yield f'{_zsh_names(hidden)}() {{ _adsyncd_names {hidden} "$@"; }}'
    for command in commands:
        yield f"{_function(command.path)}() {{"
        if command.commands:
            yield from _zsh_group(command)
        else:
            lines = [*(line for one in command.options for line in _zsh_option(one)), *_zsh_arguments(command)]
            yield from (f"    {line}" for line in _continued(["_arguments -s -S", *(f"    {line}" for line in lines)]))
        yield "}"


def _zsh_group(command: Command) -> Iterator[str]:
    yield "    local curcontext=$curcontext ret=1 state state_descr line"
    yield "    local -A opt_args"
    options = [f"        {line}" for one in command.options for line in _zsh_option(one)]
    lines = ["    _arguments -C -S", *options, "        '1: :->command'", "        '*:: :->rest' && ret=0"]
    yield from _continued(lines)
    yield from ("    case $state in", "        (command)", "            local -a commands=(")
    for name, told in command.commands:
        yield f"                {quote(f'{name}:{told}')}"
    yield from ("            )", "            _describe -t commands command commands && ret=0", "            ;;")
    yield from ("        (rest)", "            case $line[1] in")
    for name, _ in command.commands:
        yield f"                ({name}) {_function(f'{command.path} {name}')} && ret=0 ;;"
    yield from ("            esac", "            ;;", "    esac", "    return ret")


def _function(path: str) -> str:
    return "_".join(["_adsyncd_command", *path.split()])


def _continued(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"{line} \\" for line in lines[:-1])
    yield lines[-1]


def _zsh_option(one: Option) -> Iterator[str]:
    told, what = _escaped(one.told, "\\[]:"), _escaped(one.what, "\\:")
    others = f"({'- *' if '--help' in one.names or '--version' in one.names else ' '.join(one.names)})"
    for name in one.names:
        way = "" if one.values is None else "=" if name.startswith("--") else "+"
        value = "" if one.values is None else f":{what}:{_zsh_action(one.values)}"
        yield quote(f"{'*' if one.repeats else others}{name}{way}[{told}]{value}")


def _zsh_arguments(command: Command) -> Iterator[str]:
    last = len(command.arguments)
    for number, values in enumerate(command.arguments, 1):
        yield quote(f"{'*' if command.repeats and number == last else number}: :{_zsh_action(values)}")


def _zsh_action(values: Sequence[str]) -> str:
    words = " ".join(word for word in values if word not in {FILES, *COMPLETING})
    for hidden in values:
        if hidden in COMPLETING:
            return f"{_zsh_names(hidden)} {words}".rstrip()
    return "_files" if FILES in values else f"({words})" if words else " "


def _zsh_names(hidden: str) -> str:
    return f"_adsyncd_{hidden.strip('_')}"


# fish: a rule for each command, option and argument


def _fish(commands: Sequence[Command]) -> Iterator[str]:
    yield from ("function __adsyncd_groups", "    printf '%s\\n' \\")
    yield from _continued([f"        {_fish_quote(command.path)}" for command in commands if command.commands])
    yield from ("end", "function __adsyncd_valued", '    switch "$argv"')
    for command in commands:
        valued = [name for one in command.options if one.values is not None for name in one.names]
        if valued:
            yield from (
                f"        case {_fish_quote(command.path)}",
                f"            string split ' ' -- '{' '.join(valued)}'",
            )
    yield from ("    end", "end")
    for command in commands:
        yield from _fish_rules(command)


def _fish_rules(command: Command) -> Iterator[str]:
    at = f"__adsyncd_at {_fish_quote(command.path)}"
    for name, told in command.commands:
        yield _fish_rule(at, f"-a {name}", told)
    for one in command.options:
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in one.names)
        if one.values is None:
            yield _fish_rule(at, names, one.told)
        else:
            alone = "-r" if FILES in one.values else "-x"
            yield _fish_rule(at, " ".join(filter(None, (names, alone, _fish_values(one.values)))), one.told)
    last = len(command.arguments)
    for number, values in enumerate(command.arguments, 1):
        if values:
            more = " more" if command.repeats and number == last else ""
            yield _fish_rule(f"{at} {number}{more}", _fish_values(values))


def _fish_rule(condition: str, what: str, told: str = "") -> str:
    described = f" -d {_fish_quote(told)}" if told else ""
    return f"complete -c adsyncd -n {_fish_quote(condition)} {what}{described}"


def _fish_values(values: Sequence[str]) -> str:
    if FILES in values:
        return "-F"
    words = " ".join(f"(__adsyncd_names {word})" if word in COMPLETING else word for word in values)
    return f"-a {_fish_quote(words)}" if words else ""


def _fish_quote(text: str) -> str:
    escaped = _escaped(text, "\\'")
    return f"'{escaped}'"


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{letter}" if letter in special else letter for letter in text)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in completions().items():
        (folder / name).write_text(text, encoding="utf-8")
