"""Changes one place of the program at a time, and expects its tests to fail: `make mutants`, outside the gate.

A line of `mutants.jsonl` is a mutant: in `file`, `new` replaces `old`, which stands there once; `tests` are expected to
fail, and `why` says what the change would break. Only copies of the tree are changed. Exits 1 if a mutant survives.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
LONGEST_S = 600
_NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "__pycache__")
_WARM = ["pytest", "alembic.command", "httpx", "opentelemetry.sdk.trace", "psycopg", "requests", "starlette.routing"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, and the tests that notice it."""

    file: str
    old: str
    new: str
    tests: str
    why: str

    def is_stale(self) -> bool:
        """Say whether this no longer changes exactly one place of the program, or names tests that do not exist."""
        exist = all((ROOT / path.partition("::")[0]).exists() for path in [self.file, *self.tests.split()])
        return not exist or (ROOT / self.file).read_text().count(self.old) != 1 or self.old == self.new

    @contextmanager
    def applied(self, tree: Path) -> Iterator[None]:
        """Change the file in a tree. Its time differs from the original's, so cached bytecode is not used."""
        file = tree / self.file
        original, times = file.read_text(), (file.stat().st_atime, file.stat().st_mtime)
        file.write_text(original.replace(self.old, self.new))
        os.utime(file, (0, 0))
        try:
            yield
        finally:
            file.write_text(original)
            os.utime(file, times)


def mutants(part: str = "") -> Sequence[Mutant]:
    """Return the mutants of files whose path contains `part`."""
    lines = (ROOT / "tests" / "mutants.jsonl").read_text().splitlines()
    return [mutant for mutant in (Mutant(**json.loads(line)) for line in lines) if part in mutant.file]


def main(part: str = "") -> int:
    """Try the mutants, print how each ended and the totals by folder, and return the exit code."""
    chosen, trees = mutants(part), SimpleQueue[Path]()
    with TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            trees.put(Path(shutil.copytree(ROOT, f"{folder}/{number}", ignore=_NOT_COPIED)))
        suites = sorted({mutant.tests for mutant in chosen})
        passing = dict(zip(suites, pool.map(partial(_outcome, trees), suites), strict=True))
        ends = []
        for mutant, end in zip(chosen, pool.map(partial(_end, trees, passing), chosen), strict=True):
            ends.append((str(Path(mutant.file).parent), end))
            print(f"{end:8} {mutant.file}: {mutant.why}", flush=True)
    tried, killed = Counter(room for room, _ in ends), Counter(room for room, end in ends if end == "killed")
    print("\n| folder | mutants | killed |\n|---|---|---|")
    for room in sorted(tried):
        print(f"| `{room}` | {tried[room]} | {killed[room]} |")
    print(f"| all | {tried.total()} | {killed.total()} |")
    return int(killed != tried)


def _end(trees: SimpleQueue[Path], passing: dict[str, int | None], mutant: Mutant) -> str:
    if mutant.is_stale():
        return "stale"
    if passing[mutant.tests] != pytest.ExitCode.OK:
        return "no test"  # they fail, or do not exist, without the mutant
    ends = {pytest.ExitCode.OK: "survived", pytest.ExitCode.TESTS_FAILED: "killed", None: "killed"}
    outcome = _outcome(trees, mutant.tests, mutant)
    return ends.get(outcome if outcome is None else pytest.ExitCode(outcome), "broken")


def _outcome(trees: SimpleQueue[Path], tests: str, mutant: Mutant | None = None) -> int | None:
    """Run tests in a tree, with or without a mutant. Return pytest's exit code, or None if it did not end in time."""
    tree = trees.get()
    try:
        with mutant.applied(tree) if mutant else nullcontext():
            process = multiprocessing.get_context("forkserver").Process(target=_test, args=(tree, tests, bool(mutant)))
            process.start()
            process.join(LONGEST_S)
            if process.exitcode is None and process.pid:
                os.kill(process.pid, signal.SIGINT)  # its fixtures end what they started
                process.join(30)
                process.kill()
                return None
            return process.exitcode
    finally:
        trees.put(tree)


def _test(tree: Path, tests: str, mutated: bool) -> None:
    """Run tests in this process, which was forked from one that has imported what takes long."""
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(tree)
    os.environ |= {"CI": "1", "PYTHONPATH": f"{tree / 'daemon'}:{tree}"}
    sys.path[:0] = [str(tree / "daemon"), str(tree)]
    sys.dont_write_bytecode = mutated
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    sys.exit(pytest.main([*options, *tests.split()]))


if __name__ == "__main__":
    multiprocessing.get_context("forkserver").set_forkserver_preload(_WARM)
    sys.exit(main(*sys.argv[1:]))
