"""Results of benchmarks: compared with the targets, kept in results/, and made into README.md."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import getdoc, getmodule
from pathlib import Path

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results"
_HEAD = """# Benchmarks

Made from `results/` by `make bench`, which runs all benchmarks. Exit code 1: a target was missed. Compare the
ratios: both sides took turns in one run on the same cores, so other load on the machine affected both. Seconds,
megabytes and requests per second are those of the machine of the last run, and say nothing about another one.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One result of a benchmark, and its target, if there is one."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def missed(self) -> bool:
        low = self.at_least is not None and self.value < self.at_least
        return low or (self.at_most is not None and self.value > self.at_most)

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:,g}"
        return "" if self.at_most is None else f"at most {self.at_most:,g}"

    @property
    def verdict(self) -> str:
        return "" if not self.target else "FAIL" if self.missed else "PASS"

    def __str__(self) -> str:
        """Return a line for a terminal."""
        return f"{self.name}: {self.value:,g} {self.unit} {self.target} {self.verdict}".rstrip()


def keep(name: str, figures: Sequence[Figure]) -> None:
    """Write the results of the benchmark `name`."""
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


def write_readme(benchmarks: Mapping[str, Callable[[], Sequence[Figure]]]) -> None:
    """Write README.md from the benchmarks' descriptions and their latest results."""
    sections = [_section(name, measure) for name, measure in benchmarks.items() if (_RESULTS / f"{name}.json").exists()]
    (_HERE / "README.md").write_text("\n".join([_HEAD, *sections]))


def _section(name: str, measure: Callable[[], Sequence[Figure]]) -> str:
    figures = [Figure(**values) for values in json.loads((_RESULTS / f"{name}.json").read_text())]
    rows = [f"| {f.name} | {f.value:,g} {f.unit} | {f.target} | {f.verdict} |" for f in figures]
    return "\n".join(
        [
            f"## {name}",
            f"`python -m benchmarks {name}`. {getdoc(getmodule(measure))}",
            "",
            "| measured | value | target | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
