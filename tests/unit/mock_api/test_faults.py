import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mock_api.faults import Fault, draw


@given(st.integers())
def test_a_fault_at_rate_one_always_comes_and_at_rate_zero_never(seed: int) -> None:
    assert draw([(Fault.DROP, 0.0), (Fault.HANG, 1.0)], random.Random(seed)) is Fault.HANG
    assert draw([(Fault.DROP, 0.0), (Fault.HANG, 0.0)], random.Random(seed)) is Fault.NONE


def test_each_fault_comes_at_its_own_rate() -> None:
    rng = random.Random(1)
    drawn = Counter(draw([(Fault.UNAVAILABLE, 0.2), (Fault.HANG, 0.1)], rng) for _ in range(10_000))
    assert {fault: round(count / 10_000, 1) for fault, count in drawn.items()} == {
        Fault.UNAVAILABLE: 0.2,
        Fault.HANG: 0.1,
        Fault.NONE: 0.7,
    }
