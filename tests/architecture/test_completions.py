"""The completions of shells have what `--help` has. tests/process/test_completions.py runs them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from adsyncd.cli import application

ROOT = Path(__file__).parents[2]
HELP = ["--help", "-h"]

Tree = dict[str, TyperGroup | TyperCommand]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each completion by its file."""
    folder = tmp_path_factory.mktemp("completions")
    subprocess.run([sys.executable, ROOT / "docs" / "completions.py", folder], check=True)
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def tree() -> Tree:
    """Each command and group by its path."""

    def found(command: object, path: str) -> Iterator[tuple[str, TyperGroup | TyperCommand]]:
        assert isinstance(command, TyperGroup | TyperCommand)
        yield path, command
        if isinstance(command, TyperGroup):
            for name, one in command.commands.items():
                yield from found(one, f"{path} {name}".strip())

    return dict(found(get_command(application()), ""))


def options(command: TyperGroup | TyperCommand) -> Iterator[tuple[str, str]]:
    """Yield each option with its help."""
    for one in command.params:
        if isinstance(one, TyperOption):
            for name in (*one.opts, *one.secondary_opts):
                yield name, one.help or ""
    yield from ((name, "Show this message and exit.") for name in HELP)


def zsh_text(text: str) -> str:
    """Return a text as zsh's specifications in quotes have it."""
    return re.sub(r"([\\\[\]:])", r"\\\1", text).replace("'", "'\"'\"'")


def test_the_makefile_installs_each_completion(made: dict[str, str]) -> None:
    [pairs] = re.findall(r"^COMPLETIONS := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {pair.partition(":")[0] for pair in pairs.replace("\\\n", "").split()} == made.keys()


def test_bash_has_each_command_with_its_options(made: dict[str, str], tree: Tree) -> None:
    blocks = re.findall(r"^        '?([a-z -]*)'?\)\n(.*?);;$", made["adsyncd.bash"], re.MULTILINE | re.DOTALL)
    known = {path: dict(re.findall(r"^ +(options|commands)='?(.*?)'?$", block, re.MULTILINE)) for path, block in blocks}
    assert known.keys() == tree.keys()
    for path, command in tree.items():
        assert known[path]["options"].split() == [name for name, _ in options(command)]
        assert known[path].get("commands", "").split() == list(getattr(command, "commands", ()))


def test_zsh_has_each_command_with_its_options_and_their_help(made: dict[str, str], tree: Tree) -> None:
    functions = dict(
        re.findall(r"^_adsyncd_command(\S*)\(\) \{\n(.*?)^\}$", made["_adsyncd"], re.MULTILINE | re.DOTALL)
    )
    assert functions.keys() == {"".join(f"_{name}" for name in path.split()) for path in tree}
    for path, command in tree.items():
        body = functions["".join(f"_{name}" for name in path.split())]
        for name, told in options(command):
            assert re.search(rf"^ +'(\([^)]*\)|\*){name}[=+]?{re.escape(f'[{zsh_text(told)}]')}", body, re.MULTILINE), (
                name
            )
        for name in getattr(command, "commands", ()):
            assert f"                '{name}:" in body
            assert f"({name}) _adsyncd_command{''.join(f'_{one}' for one in (*path.split(), name))} && ret=0 ;;" in body


def test_fish_has_each_command_with_its_options_and_their_help(made: dict[str, str], tree: Tree) -> None:
    rules = made["adsyncd.fish"].splitlines()
    for path, command in tree.items():
        own = [rule for rule in rules if rule.startswith(f"complete -c adsyncd -n '__adsyncd_at \\'{path}\\'' ")]
        for name, told in options(command):
            flag = f" -l {name[2:]} " if name.startswith("--") else f" -s {name[1:]} "
            described = told.replace("\\", "\\\\").replace("'", "\\'")
            assert any(flag in rule and rule.endswith(f" -d '{described}'") for rule in own), (path, name)
        for name in getattr(command, "commands", ()):
            assert any(f" -a {name} -d '" in rule for rule in own), (path, name)


@pytest.mark.parametrize("choices", ["debug info warning error", "succeeded partial failed abandoned open"])
def test_each_shell_has_the_values_of_choices(made: dict[str, str], choices: str) -> None:
    for text in made.values():
        assert f"'{choices}'" in text or f":({choices})'" in text
