"""Runs all benchmarks, or the named ones. Exit code 1: a target was missed."""

import argparse
import resource
import sys

from benchmarks import (
    fairness,
    first_start,
    idle,
    isolation,
    journal,
    matrix,
    mock_api,
    pages,
    peers,
    permits,
    reading,
    reload,
    savings,
    scale,
    sharing,
    throughput,
)
from benchmarks.figures import keep, write_readme

BENCHMARKS = {
    "mock_api": mock_api.measure,
    "idle": idle.measure,
    "throughput": throughput.measure,
    "journal": journal.measure,
    "isolation": isolation.measure,
    "reading": reading.measure,
    "reload": reload.measure,
    "scale": scale.measure,
    "first_start": first_start.measure,
    "pages": pages.measure,
    "savings": savings.measure,
    "matrix": matrix.measure,
    "permits": permits.measure,
    "fairness": fairness.measure,
    "sharing": sharing.measure,
    "peers": peers.measure,
}
GROUPS = {"governor": ("matrix", "permits", "fairness", "sharing")}


def main() -> None:
    """Run benchmarks, print each figure, and keep the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*BENCHMARKS, *GROUPS]))
    named = parser.parse_args().names or list(BENCHMARKS)
    names = [each for name in named for each in GROUPS.get(name, (name,))]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is named {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for all processes started here
    missed = False
    for name in names:
        figures = BENCHMARKS[name]()
        for figure in figures:
            print(f"{name}: {figure}", flush=True)
        if figures:
            keep(name, figures)
        missed = missed or any(figure.missed for figure in figures)
    write_readme(BENCHMARKS)
    sys.exit(missed)


if __name__ == "__main__":
    main()
