import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_what_is_installed_for_production_is_what_is_tested() -> None:
    assert pins("requirements-runtime.lock").items() <= pins("requirements.lock").items()


def test_production_gets_what_the_program_declares_and_no_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=]", one)[0] for one in project["dependencies"]}
    extras = {re.split(r"[\[<>=]", one)[0] for several in project["optional-dependencies"].values() for one in several}
    assert names <= pins("requirements-runtime.lock").keys()
    assert not extras & pins("requirements-runtime.lock").keys()


def test_the_locks_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-runtime.lock"):
        assert not re.search(r"^--|https?:", (ROOT / name).read_text(), re.MULTILINE)
