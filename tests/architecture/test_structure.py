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
MOST_ROOMS = 23
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
    elsewhere = TESTED_ELSEWHERE.get(name, [])
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


# By a file of tests: the modules that it covers and that have none at their own place. {} is a module's name.
COVERED = {
    # The tests start the program.
    "process/test_cli.py": "__main__ cli/progress cli/sync daemon/once",
    "process/test_daemon.py": "cli/run daemon/parts daemon/service",
    "process/test_secrets.py": "daemon/vault_access",
    "process/test_probe.py": "platforms/prober",
    "process/test_demo.py": "cli/demo demo/collector demo/platform demo/story",
    "integration/test_mock_api.py": "mock_api/__main__",
    # Commands are tested as users call them, and what is behind the socket as a client sees it.
    "unit/cli/test_cli.py": "cli/arguments cli/output",
    "process/test_control.py": "cli/commands cli/status",
    "process/test_watch.py": "cli/watch",
    "process/test_client.py": "cli/log_level",
    "unit/cli/test_plan.py": "cli/plan_view",
    "unit/config/test_plain_socket.py": "config/names",
    "integration/test_control_client.py": "cli/client",
    "integration/test_forwarder.py": "cli/forwarder",
    "integration/test_control_fuzz.py": "control/openapi",
    "integration/test_control_socket.py": "control/connection control/peer control/server",
    "unit/control/test_app.py": "control/endpoint control/endpoints control/lists control/openapi control/problem"
    " control/wire",
    "unit/control/test_bulk.py": "control/orders",
    "unit/control/page/test_site.py": "control/page/sources",
    # They are tested against the real thing.
    "integration/test_{}.py": "demo/openbao host/owner host/sd_notify tenants/file_watch",
    "integration/test_logs.py": "telemetry/journald",
    "integration/test_otlp.py": "telemetry/exporting",
    # Values without a decision of their own; records and a protocol, which the store fulfils.
    "unit/platforms/test_transport.py": "platforms/call",
    "unit/rate/test_limiter.py": "rate/quota rate/wait",
    "unit/runs/test_lease.py": "model/lease",
    "unit/runs/test_verdict.py": "runs/facts",
    "unit/alerts/test_rules.py": "runs/success",
    "unit/tenants/test_worker_status.py": "model/verdict tenants/condition tenants/estimate tenants/services",
    "contract/test_permits.py": "rate/ledger",
    "contract/test_run_selection.py": "store/run_selection",
    # The governor's parts are one mechanism; its tests drive all of them.
    "unit/rate/test_gate.py": "rate/timer",
    "unit/rate/test_quota_changes.py": "rate/silences",
    # The worlds are made of them, and planted bugs show that the invariants see.
    "simulation/test_simulation.py": "simulation/__main__ simulation/behaviours simulation/durations simulation/fakes"
    " simulation/lives simulation/pulling simulation/scenario simulation/simulation simulation/world",
    "simulation/test_{}.py": "simulation/forecast",
    "simulation/test_planted_bugs.py": "simulation/invariants simulation/promises",
    # The contract tests run them on SQLite and on PostgreSQL.
    "contract/test_{}.py": "store/alerts store/checkup store/dead_letters store/failures store/half_hours store/history"
    " store/leases store/listings store/permits store/postgres_session store/pruning store/reader store/search"
    " store/statements store/store store/stored_campaigns store/tenancy store/unpushed store/upkeep",
    "contract/test_unpushed.py": "model/failure",
    "contract/test_journal.py": "store/beginning store/ending",
    "contract/test_two_tenants.py": "store/ending store/pauses",
}
TESTED_ELSEWHERE: dict[str, list[Path]] = {}
for test, modules in COVERED.items():
    for module in modules.split():
        TESTED_ELSEWHERE.setdefault(f"{module}.py", []).append(TESTS / test.format(Path(module).name))


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
