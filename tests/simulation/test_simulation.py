"""The whole daemon in worlds of faults, crashes and outages that a seed decides: every promise holds in all of them.

`make soak` tries more of them: ADSYNCD_WORLDS says how many, from the seed ADSYNCD_SEED on, and keeps what came of it.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from adsyncd.simulation.promises import Invariant
from adsyncd.simulation.scenario import draw_world
from adsyncd.simulation.simulation import Course, Simulator
from support.isolation import mute_world, with_and_without_the_sick
from support.reliability import Row, keep
from support.worlds import costly_world, faults_of, small_world

WORLDS = os.environ.get("ADSYNCD_WORLDS")
FIRST = int(os.environ.get("ADSYNCD_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(WORLDS or "200"))
AT_A_TIME = 25


@pytest.fixture(scope="module")
def measured() -> Iterable[Counter[tuple[str, str]]]:
    """What was counted for each fault: (fault, column) -> number. Written at the end of a soak."""
    counts: Counter[tuple[str, str]] = Counter()
    yield counts
    if WORLDS:
        columns = ("trials", "pushes", "lost", "doubled", "refused")
        rows = [
            Row("simulator", fault, *(counts[fault, name] for name in columns)) for fault in faults_of(small_world(0))
        ]
        keep("simulator", rows)


def count(course: Course, measured: Counter[tuple[str, str]]) -> None:
    broken = Counter(violation.invariant for violation in course.violations)
    for fault, times in faults_of(course.world).items():
        if times:
            measured[fault, "trials"] += times
            measured[fault, "pushes"] += course.pushes
            measured[fault, "lost"] += broken[Invariant.KEPT] + broken[Invariant.COMPLETE]
            measured[fault, "doubled"] += broken[Invariant.ONCE]
            measured[fault, "refused"] += broken[Invariant.QUOTA]


@pytest.mark.parametrize("first", SEEDS[::AT_A_TIME])
def test_every_invariant_holds_in_the_worlds_of_these_seeds(
    first: int, simulator: Simulator, measured: Counter[tuple[str, str]]
) -> None:
    for seed in range(first, min(first + AT_A_TIME, SEEDS.stop)):
        course = simulator.run(small_world(seed))
        count(course, measured)
        assert not course.violations, f"python -m adsyncd.simulation {seed}: {course.violations[0]}"


@pytest.mark.parametrize(("list_cost", "push_cost"), [(2, 3), (4, 1)])
def test_every_invariant_holds_where_the_platform_meters_by_operation(
    list_cost: int, push_cost: int, simulator: Simulator
) -> None:
    for seed in range(12):
        course = simulator.run(costly_world(seed, list_cost=list_cost, push_cost=push_cost))
        assert not course.violations, f"seed {seed}: {course.violations[0]}"
        assert course.pushes


def test_every_fault_occurs_within_the_seeds_that_are_tried() -> None:
    seen = sum((faults_of(small_world(seed)) for seed in range(200)), Counter[str]())
    assert min(seen.values()) >= 5, seen


def test_a_seed_takes_the_same_course_in_each_process_and_another_seed_another(simulator: Simulator) -> None:
    code = (
        "from adsyncd.simulation.simulation import Simulator\n"
        "from support.worlds import small_world\n"
        "print(*[Simulator().run(small_world(seed)).digest for seed in (1, 2)])\n"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = [
        subprocess.run(
            [sys.executable, "-c", code], env=environ | {"PYTHONHASHSEED": number}, capture_output=True, check=True
        )
        for number in ("1", "2")
    ]
    here = [simulator.run(small_world(seed)).digest for seed in (1, 2)]
    assert [process.stdout.decode().split() for process in ran] == [here, here]
    assert here[0] != here[1]


def test_the_world_of_a_seed_is_shown_event_by_event_from_the_command_line(simulator: Simulator) -> None:
    command = [sys.executable, "-m", "adsyncd.simulation", "1", "--hours", "0.1"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    told: list[str] = []
    simulator.run(draw_world(1, tenants=3, hours=0.1, sick=0.7), log=told.append)
    assert shown == told != []


def test_healthy_tenants_live_as_if_there_were_no_sick_ones(simulator: Simulator) -> None:
    compared = 0
    for seed in range(6):
        runs = with_and_without_the_sick(simulator, draw_world(seed, tenants=6, hours=0.4, sick=0.5, shared=0.0))
        assert runs.among == runs.alone, f"seed {seed}"
        compared += len(runs.among)
    assert compared > 30


def test_healthy_tenants_share_a_quota_with_those_who_can_not_sign_in_as_if_it_were_theirs_alone(
    simulator: Simulator,
) -> None:
    compared = 0
    for seed in range(6):
        runs = with_and_without_the_sick(simulator, mute_world(seed))
        assert runs.among == runs.alone, f"seed {seed}"
        compared += len(runs.among)
    assert compared > 15
