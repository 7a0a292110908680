from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adsyncd.rate.circuit import Circuit
from support.gates import Middle

SLOWEST_S = 60 * 1.2


def circuit(random: Random | None = None) -> Circuit:
    return Circuit(random or Middle())


def fail(subject: Circuit, instants: Iterable[float], *client_ids: str) -> None:
    for at in instants:
        for client_id in client_ids:
            subject.failed(client_id, at, probe=False)


def opened(*client_ids: str) -> Circuit:
    """A circuit that opened at 10, and lets a probe through at 15."""
    subject = circuit()
    fail(subject, range(11), *(client_ids or ("acme", "globex")))
    assert subject.is_open
    return subject


def test_it_opens_after_ten_failures_in_ten_seconds_with_no_answer() -> None:
    subject = circuit()
    fail(subject, range(10), "acme", "globex")
    assert not subject.is_open
    assert subject.opens_at("acme", 9.5) == 9.5
    fail(subject, [10], "acme")
    assert subject.is_open
    assert subject.opens_at("acme", 11) == subject.opens_at("globex", 11) == 15
    few = circuit()
    fail(few, range(0, 80, 10), "acme")
    assert not few.is_open


def test_one_answer_to_anybody_keeps_it_closed() -> None:
    subject = circuit()
    for second in range(0, 1000, 9):
        fail(subject, range(second, second + 9), "acme", "globex", "initech")
        subject.answered("hooli")
    assert not subject.is_open


def test_one_client_id_s_failures_open_it_only_for_a_host_that_has_no_other() -> None:
    alone, in_company = circuit(), circuit()
    in_company.answered("globex")
    for subject in (alone, in_company):
        fail(subject, range(1000), "acme")
    assert (alone.is_open, in_company.is_open) == (True, False)


def test_a_client_id_that_may_still_get_answers_is_not_held() -> None:
    subject = opened()
    assert subject.opens_at("initech", 11) == 11
    fail(subject, [11, 12], "initech")
    assert subject.opens_at("initech", 12) == 12
    assert not subject.begin("initech", 12)
    fail(subject, [13], "initech")
    assert subject.opens_at("initech", 13) == 15


def test_an_answer_closes_it_for_all_who_then_have_as_much_patience_as_at_first() -> None:
    subject = opened()
    subject.answered("initech")
    assert not subject.is_open
    fail(subject, range(20, 30), "hooli", "initech")
    fail(subject, [30], "acme")
    assert subject.is_open
    assert subject.opens_at("hooli", 30) == 35
    assert subject.opens_at("acme", 30) == 30


def test_one_probe_goes_and_the_others_wait_for_it() -> None:
    subject = opened()
    assert subject.begin("acme", 15)
    assert subject.opens_at("globex", 15) == 45
    subject.answered("acme")
    assert subject.opens_at("globex", 15) == 15


def test_a_probe_that_is_cancelled_hands_its_right_on_and_one_that_hangs_loses_it() -> None:
    subject = opened()
    subject.begin("acme", 15)
    subject.abandoned(16, probe=True)
    assert subject.opens_at("globex", 16) == 16
    assert subject.begin("globex", 16)
    assert subject.opens_at("acme", 46) == 46


def test_it_stays_open_for_twice_as_long_after_each_probe_in_vain_up_to_a_minute() -> None:
    subject, now, waits = opened("acme"), 10.0, []
    for _ in range(7):
        probe_at = subject.opens_at("acme", now)
        waits.append(probe_at - now)
        now = probe_at
        assert subject.begin("acme", now)
        subject.failed("acme", now, probe=True)
    assert waits == [5, 11, 21, 41, 61, 61, 61]  # with a second's courtesy to those who have not probed


def test_the_waits_of_many_processes_are_spread() -> None:
    waits = []
    for seed in range(100):
        subject = circuit(Random(seed))
        fail(subject, range(11), "acme")
        waits.append(subject.opens_at("acme", 10) - 10)
    assert 4 <= min(waits) < 4.5
    assert 5.5 < max(waits) <= 6


def test_who_probed_in_vain_lets_each_other_probe_before_it_does_so_again() -> None:
    names = ["acme", "globex", "initech"]
    subject, now, turns = opened(*names), 10.0, []
    for _ in range(9):
        now, name = min((subject.opens_at(name, now), name) for name in names)
        subject.begin(name, now)
        subject.failed(name, now, probe=True)
        turns.append(name)
    assert turns == names * 3


def test_a_failure_that_is_no_probe_does_not_hold_the_others_for_longer() -> None:
    subject = opened()
    fail(subject, range(11, 15), "acme", "globex")
    assert subject.opens_at("acme", 14) == 15


class Tenants(RuleBasedStateMachine):
    """Any tenants at one host, of which "well" is answered whenever it asks."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = circuit(Random(1))
        self.now = 0.0
        self.sent: list[tuple[str, bool]] = []

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from(["acme", "globex", "initech"]))
    def send(self, name: str) -> None:
        if self.circuit.opens_at(name, self.now) <= self.now:
            self.sent.append((name, self.circuit.begin(name, self.now)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        name, probe = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        self.circuit.failed(name, self.now, probe=probe)

    @precondition(lambda self: self.sent)
    @rule()
    def abandon(self) -> None:
        _, probe = self.sent.pop(0)
        self.circuit.abandoned(self.now, probe=probe)

    @precondition(lambda self: self.sent)
    @rule()
    def answer(self) -> None:
        name, _ = self.sent.pop(0)
        self.circuit.answered(name)
        assert not self.circuit.is_open

    @invariant()
    def who_is_well_is_never_held(self) -> None:
        assert self.circuit.opens_at("well", self.now) == self.now

    @invariant()
    def nobody_is_held_for_longer_than_a_probe_or_a_period_takes(self) -> None:
        for name in ("acme", "globex", "initech"):
            assert self.circuit.opens_at(name, self.now) <= self.now + SLOWEST_S + 1


TestTenants = Tenants.TestCase


@pytest.mark.parametrize("well", [True, False])
@given(failures=st.lists(st.integers(0, 2), max_size=60))
def test_no_trouble_of_others_holds_one_that_is_answered_now_and_then(failures: list[int], well: bool) -> None:
    """`failures`: between two answers, which come when nobody knows; three in a row are another matter."""
    subject = opened("acme", "globex", "initech") if well else circuit()
    now = 15.0
    for count in failures:
        for _ in range(count):
            assert subject.opens_at("well", now) == now
            subject.failed("well", now, probe=False)
            fail(subject, [now], "acme", "globex")
            now += 5
        assert subject.opens_at("well", now) == now
        subject.answered("well")
