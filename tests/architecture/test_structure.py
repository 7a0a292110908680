"""What a stranger may rely on when opening the tree."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "daemon" / "adsyncd"
TESTS = ROOT / "tests"
LONGEST = 350  # lines of a module
LONGEST_TEST = 400
MOST_ROOMS = 22
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
def test_a_module_is_tested_by_the_file_at_its_place(module: Path) -> None:
    name = str(module.relative_to(PROGRAM.parent if PROGRAM in module.parents else ROOT)).removeprefix("adsyncd/")
    own = TESTS / "unit" / Path(name).with_name(f"test_{module.name}")
    elsewhere = [TESTS / test for tests, _ in [TESTED_ELSEWHERE.get(name, ("", ""))] for test in tests.split()]
    assert own.exists() != bool(elsewhere), f"write {named(own)}, or say why another file tests this module"
    for test in elsewhere:
        assert module in reached(test), f"{named(test)} neither imports nor starts {name}"


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=named)
def test_a_file_of_tests_is_of_readable_size(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_TEST


@cache
def files(name: str) -> list[Path]:
    """Return the file of a module of ours, and those of the packages that it is in."""
    parts = name.split(".")
    paths = [Path(*parts[:end]) for end in range(1, len(parts) + 1)]
    found = [place / path for place in (PROGRAM.parent, ROOT, TESTS) for path in paths]
    return [file for path in found for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


@cache
def imported(file: Path) -> frozenset[Path]:
    """Return the files of ours that a file imports, in functions, too. Its name in a string starts a program."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in {"adsyncd", "adsyncd.simulation", "mock_api"}:
            names.add(f"{node.value}.__main__")
        elif isinstance(node, ast.Constant) and node.value == "adsyncd.cli.":  # a command is imported by its name
            names |= {f"adsyncd.cli.{module.stem}" for module in (PROGRAM / "cli").glob("*.py")}
    return frozenset(path for name in names for path in files(name))


def reached(test: Path) -> set[Path]:
    """Return all that a test and the fixtures beside it import, directly or not."""
    known, found = set[Path](), {test, *test.parent.glob("conftest.py")}
    while found:
        known |= found
        found = {path for file in found for path in imported(file)} - known
    return known


ONE_TEST_FOR_ALL_DATABASES = "the contract tests run it on SQLite and on PostgreSQL"
ONE_MECHANISM = "the governor's parts are one mechanism; its tests drive all of them"
A_REAL_PEER = "tested against the real thing"
VALUES = "values without a decision of their own"
A_WHOLE_PROCESS = "the tests start the program"
BY_COMMAND = "commands are tested as users call them"
OVER_THE_SOCKET = "tested as a client sees it"

# By module: the tests that cover it instead, and why.
TESTED_ELSEWHERE = {
    "__main__.py": ("process/test_cli.py", A_WHOLE_PROCESS),
    "cli/arguments.py": ("unit/cli/test_cli.py", BY_COMMAND),
    "cli/client.py": ("integration/test_control_client.py", OVER_THE_SOCKET),
    "cli/commands.py": ("process/test_control.py", BY_COMMAND),
    "cli/demo.py": ("process/test_demo.py", A_WHOLE_PROCESS),
    "cli/output.py": ("unit/cli/test_cli.py", BY_COMMAND),
    "cli/progress.py": ("process/test_cli.py", A_WHOLE_PROCESS),
    "cli/run.py": ("process/test_daemon.py process/test_cli.py", A_WHOLE_PROCESS),
    "cli/status.py": ("process/test_control.py", BY_COMMAND),
    "control/connection.py": ("integration/test_control_socket.py", OVER_THE_SOCKET),
    "control/endpoints.py": ("unit/control/test_app.py", OVER_THE_SOCKET),
    "control/openapi.py": ("integration/test_control_fuzz.py unit/control/test_app.py", OVER_THE_SOCKET),
    "control/peer.py": ("integration/test_control_socket.py", OVER_THE_SOCKET),
    "control/server.py": ("integration/test_control_socket.py", OVER_THE_SOCKET),
    "control/wire.py": ("unit/control/test_app.py", OVER_THE_SOCKET),
    "daemon.py": ("process/test_daemon.py", A_WHOLE_PROCESS),
    "demo/collector.py": ("process/test_demo.py", A_WHOLE_PROCESS),
    "demo/openbao.py": ("integration/test_openbao.py", A_REAL_PEER),
    "demo/platform.py": ("process/test_demo.py", A_WHOLE_PROCESS),
    "demo/story.py": ("process/test_demo.py", A_WHOLE_PROCESS),
    "host/owner.py": ("integration/test_owner.py", A_REAL_PEER),
    "host/sd_notify.py": ("integration/test_sd_notify.py", A_REAL_PEER),
    "mock_api/__main__.py": ("integration/test_mock_api.py", A_WHOLE_PROCESS),
    "model/lease.py": ("unit/runs/test_lease.py", VALUES),
    "model/tenant.py": ("unit/config/test_tenant_file.py", VALUES),
    "platforms/call.py": ("unit/platforms/test_transport.py", VALUES),
    "rate/costs.py": ("unit/rate/test_quota_changes.py", ONE_MECHANISM),
    "rate/ledger.py": ("contract/test_permits.py", "records and a protocol; the store fulfils it"),
    "rate/quota.py": ("unit/rate/test_limiter.py", VALUES),
    "rate/timer.py": ("unit/rate/test_gate.py", ONE_MECHANISM),
    "rate/wait.py": ("unit/rate/test_limiter.py", VALUES),
    "simulation/__main__.py": ("simulation/test_simulation.py", "the tests start worlds as it does"),
    "simulation/durations.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "simulation/fakes.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "simulation/forecast.py": ("simulation/test_forecast.py", "the worlds are made of it"),
    "simulation/invariants.py": ("simulation/test_planted_bugs.py", "planted bugs show that it sees"),
    "simulation/lives.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "simulation/scenario.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "simulation/simulation.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "simulation/world.py": ("simulation/test_simulation.py", "the worlds are made of it"),
    "store/alerts.py": ("contract/test_alerts.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/checkup.py": ("contract/test_checkup.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/dead_letters.py": ("contract/test_dead_letters.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/ending.py": ("contract/test_journal.py contract/test_two_tenants.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/history.py": ("contract/test_history.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/leases.py": ("contract/test_leases.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/listings.py": ("contract/test_listings.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/pauses.py": ("contract/test_two_tenants.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/permits.py": ("contract/test_permits.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/postgres_session.py": ("contract/test_postgres_session.py", A_REAL_PEER),
    "store/reader.py": ("contract/test_reader.py", ONE_TEST_FOR_ALL_DATABASES),
    "store/store.py": ("contract/test_store.py", ONE_TEST_FOR_ALL_DATABASES),
    "telemetry/journald.py": ("integration/test_logs.py", A_REAL_PEER),
    "tenants/file_watch.py": ("integration/test_file_watch.py", A_REAL_PEER),
}


def test_no_exception_outlives_its_module() -> None:
    modules = {named(path).removeprefix("daemon/adsyncd/") for path in MODULES}
    assert not TESTED_ELSEWHERE.keys() - modules


def test_the_door_of_the_program_has_few_rooms() -> None:
    rooms = {path.name for path in PROGRAM.iterdir() if path.is_dir() and path.name != "__pycache__"}
    rooms |= {path.stem for path in PROGRAM.glob("*.py") if path.stem != "__init__"}
    assert len(rooms) <= MOST_ROOMS


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
