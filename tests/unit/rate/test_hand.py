"""Permits that are on record before they are granted."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import StoreError
from adsyncd.rate import Gate, Permit
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import Shape
from support.examples import examples
from support.gates import (
    COOLS_FOR,
    WINDOW,
    MemoryLedger,
    a_client,
    a_gate,
    a_governor,
    a_quota,
    at_once,
    recorded,
)
from support.killed import Processes
from support.virtual_time import VirtualClock

KEPT_S = 2.0


class Counting(MemoryLedger):
    """A ledger that counts claims and those of each, takes its time, and fails where it is told to."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        super().__init__()
        self.claims = list[int]()
        self.takes_s = takes_s
        self.fails = False

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        self.claims.append(len(claims))
        if self.takes_s:
            await anyio.sleep(self.takes_s)
        if self.fails:
            raise StoreError("the disk is full")
        return await super().claim_permits(claims)

    def out(self, now: float) -> int:
        """Count the permits that no other process can have."""
        return sum(record.free_at > now for record in self.records.values())


async def take(through: Gate, count: int, timeout_s: float = 5.0) -> list[Permit]:
    return [await recorded(through, timeout_s) for _ in range(count)]


def cool(permits: Sequence[Permit]) -> None:
    for permit in permits:
        permit.cool()


@pytest.mark.parametrize("shared", [False, True], ids=["its own quota", "and a platform's"])
async def test_few_writes_record_many_permits_and_what_is_left_is_given_back(shared: bool) -> None:
    ledger = Counting()
    through = a_governor(ledger=ledger).gate(a_client(a_quota(2000), a_quota(2000) if shared else None))
    permits = await take(through, 127)
    written = [1, 1, 1, 1, 2, 3, 4, 6, 9, 14, 21, 31, 47]
    assert ledger.claims == [count * (1 + shared) for count in written]
    assert through.limiter.held == 127 == len(through.out)
    assert through.free == 2000 - 127
    cool(permits)
    assert through.free == 2000 - 127
    assert ledger.out(COOLS_FOR) == (sum(written) - 127) * (1 + shared)
    await anyio.sleep(KEPT_S + 0.1)
    assert ledger.out(COOLS_FOR) == 0
    assert ledger.out(COOLS_FOR - 0.1) == 127 * (1 + shared)


@pytest.mark.parametrize(
    ("requests", "also", "most"), [(39, (), 1), (40, (), 2), (1000, (59,), 2), (1000, (39,), 1), (9000, (), 50)]
)
async def test_a_block_is_at_most_a_twentieth_of_the_smallest_window_and_fifty(
    requests: int, also: tuple[int, ...], most: int
) -> None:
    ledger = Counting()
    through = a_gate(a_quota(requests, WINDOW, *((number, 10 * WINDOW) for number in also)), VirtualClock(), ledger)
    await take(through, 300 if most == 50 else 8)
    assert max(ledger.claims) == most * (1 + len(also))


async def test_no_block_is_taken_where_a_platform_s_quota_is_small_little_is_free_or_requests_are_spaced() -> None:
    ledger = Counting()
    await take(a_gate(a_quota(40), VirtualClock(), ledger), 40)
    assert ledger.claims[-7:] == [1] * 7
    small, paced = Counting(), Counting()
    await take(a_governor(ledger=small).gate(a_client(a_quota(1000), a_quota(10))), 10)
    assert small.claims == [2] * 10
    through = a_gate(a_quota(1000, shape=Shape.PACED), VirtualClock(), paced)
    await take(through, 8)
    assert paced.claims == [2] * 8  # the permit and the space


async def test_a_permit_of_the_platform_in_hand_leaves_the_client_id_s_own_to_be_written() -> None:
    ledger = Counting()
    governor, shared = a_governor(ledger=ledger), a_quota(2000)
    await take(governor.gate(a_client(a_quota(2000), shared)), 128)
    for number in range(1, 4):  # the platform's permits for them were claimed ahead
        await recorded(governor.gate(a_client(a_quota(2000), shared, client_id="globex")))
        own = [key for key in ledger.records if key[1] == "globex"]
        assert len(own) == number


async def test_a_permit_from_a_block_that_was_not_used_stands_for_the_request_before_it_again() -> None:
    ledger = Counting()
    governor = a_governor(ledger=ledger)
    before = governor.gate(a_client(a_quota(100, 10.0)))
    cool(await take(before, 100))
    await anyio.sleep(30)
    ledger.claims.clear()
    for permit in await take(before, 30):
        permit.refund()
    assert max(ledger.claims) > 1
    after = governor.gate(a_client(a_quota(1000, 600.0)))
    silence_s = after.silence_s()
    assert silence_s is not None
    await anyio.sleep(silence_s + 1)
    assert after.free == 900


async def test_a_permit_in_hand_is_written_again_for_a_longer_request_or_a_space() -> None:
    ledger = Counting()
    through = a_gate(a_quota(1000), VirtualClock(), ledger)
    await take(through, 6, timeout_s=5.0)
    assert ledger.claims == [1, 1, 1, 1, 2]
    await take(through, 1, timeout_s=5.0)
    assert ledger.claims[5:] == [3]
    await take(through, 1, timeout_s=10.1)
    assert ledger.claims[6:] == [1]
    through.limiter.pace(paced=True)
    await take(through, 1, timeout_s=5.0)
    assert ledger.claims[7:] == [2]


async def test_a_record_outlasts_the_request_that_uses_it_at_the_last_instant() -> None:
    ledger = Counting()
    through = a_gate(a_quota(1000), VirtualClock(), ledger)
    await take(through, 7, timeout_s=5.0)
    await anyio.sleep(KEPT_S - 0.01)
    await take(through, 2, timeout_s=5.0)
    assert len(ledger.claims) == 6
    assert all(record.free_at >= anyio.current_time() + 5.0 + COOLS_FOR for record in ledger.records.values())


async def test_requests_that_become_rare_are_recorded_one_by_one_again() -> None:
    ledger = Counting()
    through = a_gate(a_quota(1000), VirtualClock(), ledger)
    cool(await take(through, 12))
    await anyio.sleep(4 * (KEPT_S + 0.1))
    before = len(ledger.claims)
    for _ in range(8):
        cool(await take(through, 1))
        await anyio.sleep(KEPT_S + 0.1)
    assert ledger.claims[before:] in ([1] * 8, [3] + [1] * 7)


@pytest.mark.parametrize("shared", [False, True], ids=["its own quota", "and a platform's"])
async def test_a_stop_gives_all_back(shared: bool) -> None:
    ledger = Counting()
    governor = a_governor(ledger=ledger)
    cool(await take(governor.gate(a_client(a_quota(1000), a_quota(1000) if shared else None)), 10))
    assert ledger.out(COOLS_FOR) == 3 * (1 + shared)
    governor.stop()
    assert ledger.out(COOLS_FOR) == 0


async def test_permits_in_hand_count_for_nothing_when_a_quota_changes_or_a_platform_gets_one() -> None:
    ledger = Counting()
    governor = a_governor(ledger=ledger)
    await anyio.sleep(1000)
    cool(await take(governor.gate(a_client(a_quota(1000))), 10))
    through = governor.gate(a_client(a_quota(900, 30), a_quota(800)))
    assert ledger.out(1000 + COOLS_FOR) == 0
    assert through.free == 900 - 10
    assert through.pool is not None
    assert through.pool.limiter.free(anyio.current_time()) == 800 - 10
    await take(through, 1)
    assert ledger.claims[-1] == 10 + 1 + 10 + 1  # what was carried over, too


@pytest.mark.parametrize("how", ["failed", "cancelled", "taken"])
async def test_a_block_that_is_not_written_leaves_its_permits_free(how: str) -> None:
    ledger = Counting()
    through = a_gate(a_quota(1000), VirtualClock(), ledger)
    await take(through, 6)
    ledger.takes_s, ledger.fails = 1.0, how == "failed"
    if how == "taken":
        other = a_gate(a_quota(1000), VirtualClock(), ledger, owner="other")
        other.account.learn(ledger.records.values())
        await take(other, 1)  # the next number after those of the first process
    permit = await through.acquire()
    with anyio.move_on_after(0.5 if how == "cancelled" else None):
        if how == "failed":
            with pytest.raises(StoreError):
                await permit.put_on_record(5.0)
        else:
            assert not await permit.put_on_record(5.0)
    assert through.free == 1000 - 6 - (how == "taken")
    ledger.takes_s, ledger.fails = 0.0, False
    await take(through, 994 - (how == "taken"))
    assert through.free == 0


async def test_while_a_block_is_written_other_requests_are_recorded_without_one_and_none_is_granted_twice() -> None:
    ledger, permits = Counting(takes_s=0.1), list[Permit]()
    through = a_gate(a_quota(200), VirtualClock(), ledger)
    await take(through, 10)

    async def request() -> None:
        permits.append(await recorded(through))

    await at_once(100, request)
    assert ledger.claims.count(1) > 80
    assert 110 == len(through.out) == through.limiter.held
    assert through.free == 200 - 110
    await take(through, 90)
    assert len(ledger.records) == 200


@examples(60)
@given(
    seed=st.integers(0, 2**32),
    permits=st.integers(40, 120),
    shared=st.none() | st.integers(40, 120),
    lives=st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 60), st.integers(20, 100), st.booleans()), min_size=2, max_size=5
    ),
)
async def test_processes_that_are_killed_with_blocks_in_hand_never_send_more_than_the_quota(
    seed: int, permits: int, shared: int | None, lives: list[tuple[float, float, int, bool]]
) -> None:
    processes = Processes(seed, a_quota(permits), None if shared is None else a_quota(shared))
    await processes.live_together(
        [(begins_s, lasts_s, requests // 5, elsewhere) for begins_s, lasts_s, requests, elsewhere in lives], rounds=5
    )
    await processes.live("the last", 0.0, 1e9, 20, rounds=5)
    assert processes.server.most_in_a_window() <= min(permits, shared or permits)


async def test_what_a_killed_process_had_in_hand_is_out_no_longer_than_what_it_had_sent() -> None:
    ledger, clock = Counting(), VirtualClock()
    await take(a_gate(a_quota(1000), clock, ledger), 100)
    in_hand = len(ledger.records) - 100
    assert 0 < in_hand <= 50
    through = a_gate(a_quota(1000), clock, ledger, ledger.records.values(), owner="the next")
    assert through.free == 1000 - 100 - in_hand
    await anyio.sleep(5 + 5 + COOLS_FOR + 0.001)
    assert through.free == 1000
