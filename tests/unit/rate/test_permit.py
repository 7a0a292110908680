from collections.abc import Sequence
from datetime import timedelta

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import StoreError
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import Shape
from support.examples import examples
from support.gates import COOLS_FOR, WINDOW, MemoryLedger, a_client, a_gate, a_governor, a_quota
from support.virtual_time import VirtualClock


class Slow(MemoryLedger):
    """A ledger that takes its time, `first_s` for the first record, and fails where it is told to."""

    def __init__(self, first_s: float = 0.1, *, fails: bool = False) -> None:
        super().__init__()
        self.first_s = first_s
        self.fails = fails

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        await anyio.sleep(0.1 if self.records else self.first_s)
        if self.fails:
            raise StoreError(f"the disk is full, no room for {len(claims)}")
        return await super().claim_permits(claims)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "failed"])
async def test_a_permit_that_is_not_put_on_record_is_given_back(fails: bool, shared: bool) -> None:
    through = a_governor(ledger=Slow(fails=fails)).gate(a_client(a_quota(1), a_quota(1) if shared else None))
    for _ in range(3):
        permit = through.acquire_nowait()
        assert permit is not None
        with anyio.move_on_after(0.05 if not fails else None):
            with pytest.raises(StoreError):
                await permit.put_on_record(10.0)
            continue
    assert (through.limiter.held, through.free, through.out) == (0, 1, set())
    assert not through.pool or through.pool.limiter.held == 0


async def test_a_record_that_took_too_long_to_write_is_written_again_before_the_request_leaves() -> None:
    ledger = Slow(first_s=30.0)
    permit = a_gate(a_quota(1), VirtualClock(), ledger).acquire_nowait()
    assert permit is not None
    assert await permit.put_on_record(10.0)
    (record,) = ledger.records.values()
    assert record.free_at > anyio.current_time() + 10.0 + COOLS_FOR


@pytest.mark.parametrize(("refunded", "free_after_s"), [(False, 3.0 + COOLS_FOR), (True, 0.0)])
@pytest.mark.parametrize("shared", [False, True])
async def test_the_record_says_out_for_as_long_as_may_be_and_then_when_it_is_free(
    refunded: bool, free_after_s: float, shared: bool
) -> None:
    ledger, start = MemoryLedger(), anyio.current_time()
    through = a_governor(VirtualClock(), ledger).gate(a_client(a_quota(1), a_quota(1) if shared else None))
    permit = await through.acquire()
    assert await permit.put_on_record(10.0)
    assert [record.free_at for record in ledger.records.values()] == [start + 5 + 10 + COOLS_FOR] * (1 + shared)
    await anyio.sleep(3)
    permit.refund() if refunded else permit.cool()
    expected = 0.0 if refunded else start + free_after_s
    assert [record.free_at for record in ledger.records.values()] == pytest.approx([expected] * (1 + shared))


async def test_a_refund_leaves_the_record_s_end_as_it_was() -> None:
    ledger, ends = MemoryLedger(), []
    through = a_gate(a_quota(1), VirtualClock(), ledger)
    for refunded in (False, True, True):
        permit = await through.acquire()
        assert await permit.put_on_record(5.0)
        permit.refund() if refunded else permit.cool()
        ends += [record.free_at for record in ledger.records.values()]
    assert ends == [ends[0]] * 3


@pytest.mark.parametrize(
    ("written_at", "answered_at", "counted_by"), [(0.1, 2.0, 0.6), (0.1, 0.2, 0.2), (None, 2.0, 2.0)]
)
async def test_an_arrival_bound_lets_a_permit_cool_from_the_bound_or_from_an_earlier_answer(
    written_at: float | None, answered_at: float, counted_by: float
) -> None:
    through, start = a_gate(a_quota(1, arrival_bound=timedelta(seconds=0.5)), VirtualClock()), anyio.current_time()
    permit = await through.acquire()
    await anyio.sleep(answered_at)
    permit.cool(written_at=None if written_at is None else start + written_at)
    await through.acquire()
    assert anyio.current_time() - start == pytest.approx(counted_by + COOLS_FOR)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("answered", "spread_s"), [(True, 30.0), (False, 0.01 * WINDOW)])
async def test_answers_alone_tell_how_far_arrivals_are_spread(shared: bool, answered: bool, spread_s: float) -> None:
    paced, plenty = a_quota(11, shape=Shape.PACED), a_quota(1000)
    through = a_governor().gate(a_client(plenty, paced) if shared else a_client(paced))
    await anyio.sleep(100.0)
    permit = await through.acquire()
    await anyio.sleep(30.0)
    permit.cool(answered=answered)
    limiter = through.pool.limiter if through.pool else through.limiter
    assert limiter.space_s == pytest.approx((WINDOW * 1.001 + spread_s) / 10)


@examples(40)
@given(cooled=st.booleans(), shared=st.lists(st.sampled_from([None, 1, 2, 5]), min_size=1, max_size=5))
async def test_a_permit_that_is_out_while_the_platform_s_quota_changes_leaves_none_held(
    cooled: bool, shared: list[int | None]
) -> None:
    governor = a_governor()
    through = governor.gate(a_client(a_quota(3)))
    permits = [await through.acquire() for _ in range(2)]
    for requests in shared:
        governor.gate(a_client(a_quota(3), None if requests is None else a_quota(requests)))
        assert through.pool is None or through.pool.limiter.held == 2
    for permit in permits:
        permit.cool() if cooled else permit.refund()
    assert (through.limiter.held, through.free) == (0, 1 if cooled else 3)
    assert through.pool is None or through.pool.limiter.held == 0
