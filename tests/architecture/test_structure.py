"""What a stranger may rely on when opening the tree."""

import ast
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "daemon" / "adsyncd"
LONGEST = 400  # lines of a module
MODULES = sorted(
    path for package in (PROGRAM, ROOT / "mock_api") for path in package.rglob("*.py") if "migrations" not in path.parts
)
VAGUE = {"utils", "util", "helpers", "common", "misc", "base", "tools", "stuff"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_is_one_thing_of_readable_size_with_a_name_and_a_reason(module: Path) -> None:
    source = module.read_text()
    assert len(source.splitlines()) <= LONGEST
    assert module.stem not in VAGUE
    assert ast.get_docstring(ast.parse(source)), "a module says why it exists"


@pytest.mark.parametrize("module", [path for path in MODULES if path.stem != "__init__"], ids=named)
def test_a_module_is_tested_by_a_file_of_its_name(module: Path) -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    own = f"test_{module.stem.strip('_')}.py"
    package = f"test_{module.parent.name}.py"
    assert own in tests or package in tests or module.stem in TESTED_ELSEWHERE, f"write {own}"


# Values and declarations without a decision of their own, and what only a whole process shows.
TESTED_ELSEWHERE = {
    "__main__": "every test in tests/process starts it",
    "tenant": "values alone",
    "permit": "values alone",
}


def test_the_tree_says_nothing_of_the_machine_that_it_was_made_on() -> None:
    words = ("pypi" + ".org", "files.python" + "hosted", "/ro" + "ot/", "/wo" + "rk/")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.is_file():
            text = path.read_text(errors="replace")
            assert not [word for word in words if word in text], name


@pytest.mark.parametrize("module", sorted((PROGRAM / "cli").glob("*.py")), ids=named)
def test_a_command_writes_through_output_alone_which_escapes_what_others_wrote(module: Path) -> None:
    if module.stem == "output":
        return
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)}
    ways = {"print", "Text", "Console", "Text.from_markup", "Table", "typer.echo", "typer.secho", "click.echo"}
    assert not [name for name in called if name in ways or name.endswith(("stdout.write", "stderr.write"))]


def test_no_property_test_fails_because_the_machine_is_busy() -> None:
    profile = settings()
    assert profile.deadline is None
    assert HealthCheck.too_slow in profile.suppress_health_check
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != ROOT / "tests" / "conftest.py"]
    assert not [named(path) for path in tests if "dead" + "line=None" in path.read_text()], "the profile says so"
