import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mock_api.faults import FaultKind, draw


@given(st.integers())
def test_a_fault_at_rate_one_always_comes_and_at_rate_zero_never(seed: int) -> None:
    assert draw([(FaultKind.DROP, 0.0), (FaultKind.HANG, 1.0)], random.Random(seed)) is FaultKind.HANG
    assert draw([(FaultKind.DROP, 0.0), (FaultKind.HANG, 0.0)], random.Random(seed)) is FaultKind.NONE


def test_each_fault_comes_at_its_own_rate() -> None:
    rng = random.Random(1)
    drawn = Counter(draw([(FaultKind.UNAVAILABLE, 0.2), (FaultKind.HANG, 0.1)], rng) for _ in range(10_000))
    rates = {fault: round(count / 10_000, 1) for fault, count in drawn.items()}
    assert rates == {FaultKind.UNAVAILABLE: 0.2, FaultKind.HANG: 0.1, FaultKind.NONE: 0.7}
