"""The whole daemon in worlds of faults, crashes and outages that a seed decides: every promise holds in all of them."""

import pytest

from adsyncd.simulation.fate import draw_world
from adsyncd.simulation.simulation import Simulator


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_every_invariant_holds_in_the_worlds_of_these_seeds(first: int, simulator: Simulator) -> None:
    for seed in range(first, first + 10):
        course = simulator.run(draw_world(seed, tenants=3, hours=0.5, sick=0.7))
        assert not course.violations, f"seed {seed}: {course.violations[0]}"
        assert course.requests
        assert course.runs


def test_a_seed_takes_the_same_course_each_time_and_another_seed_another(simulator: Simulator) -> None:
    courses = [simulator.run(draw_world(seed, tenants=3, hours=0.5)) for seed in (7, 7, 8)]
    assert courses[0].digest == courses[1].digest != courses[2].digest
