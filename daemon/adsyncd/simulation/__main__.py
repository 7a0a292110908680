"""`python -m adsyncd.simulation SEED` prints each event in the world of a seed."""

import argparse
import sys

from adsyncd.simulation.scenario import draw_world
from adsyncd.simulation.simulation import Simulator


def main() -> None:
    """Print each event with its time in seconds, then all violations; exit 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m adsyncd.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--tenants", type=int, default=3)
    parser.add_argument("--hours", type=float, default=0.3)
    parser.add_argument("--sick", type=float, default=0.7, help="the share of tenants with a fault")
    options = parser.parse_args()
    world = draw_world(options.seed, tenants=options.tenants, hours=options.hours, sick=options.sick)
    course = Simulator().run(world, log=print)
    for violation in course.violations:
        print(violation, file=sys.stderr)  # noqa: T201 - what it is for
    sys.exit(1 if course.violations else 0)


if __name__ == "__main__":
    main()
