"""Whatever quotas are changed to, by reloads, restarts and reboots: no more is sent than the quota in force allows."""

from dataclasses import dataclass, field, replace
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate import Gate, Governor, Permit
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.limiter import Numbers
from adsyncd.rate.quota import ClientQuota, Quota, Window
from adsyncd.rate.silences import silences
from support.examples import examples
from support.gates import MemoryLedger, a_client, a_governor, a_quota
from support.virtual_time import VirtualClock

TIMEOUT_S = 5.0


def quota(first: tuple[int, float], *also: tuple[int, float]) -> Quota:
    return a_quota(*first, *also)


QUOTAS = st.sampled_from(
    [
        *(quota((4, 60)), quota((2, 30)), quota((1, 10)), quota((6, 120)), quota((9, 60)), quota((3, 400))),
        *(quota((3, 20), (8, 90)), quota((1, 10), (4, 60)), quota((5, 60), (12, 300)), quota((8, 90), (3, 20))),
    ]
)
PLATFORMS = st.none() | st.sampled_from([quota((5, 60)), quota((3, 20)), quota((9, 200)), quota((2, 10), (7, 60))])


@dataclass(frozen=True)
class Step:
    """So long it lasts, and so it begins: by a reload, a restart after a kill, or one after a reboot."""

    lasts_s: float
    begins: str
    quotas: tuple[Quota, Quota]
    platform: Quota | None


STEPS = st.builds(
    Step,
    st.floats(0.5, 150),
    st.sampled_from(["reload", "reload", "restart", "restart", "reboot"]),
    st.tuples(QUOTAS, QUOTAS),
    PLATFORMS,
)


@dataclass
class World:
    """A server that counts each request at some instant of its way, were its process killed meanwhile or not."""

    random: Random
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    clock: VirtualClock = field(default_factory=VirtualClock)
    counted: list[tuple[float, int, int]] = field(default_factory=list)  # at, in which step it was granted, by whom
    steps: dict[int, int] = field(default_factory=dict)  # whose quota is that of which step
    granted: dict[Permit, int] = field(default_factory=dict)  # to those who had to wait

    def watch(self, gate: Gate, who: int) -> Gate:
        """Note in which step a gate grants."""
        grant = gate.grant

        def granted(now: float, shared: Numbers) -> None:
            before = set(gate.out)
            grant(now, shared)
            self.granted |= dict.fromkeys(gate.out - before, self.steps[who])

        gate.grant = granted  # type: ignore[method-assign]
        return gate

    async def request(self, gate: Gate, who: int) -> None:
        permit = await gate.acquire()
        step = self.granted.get(permit, self.steps[who])
        while not await permit.put_on_record(TIMEOUT_S):
            permit = await gate.acquire(again=True)
            step = self.granted.get(permit, self.steps[who])
        await anyio.sleep(0.001)
        kind, way_s = self.random.random(), self.random.uniform(0.01, TIMEOUT_S if self.random.random() < 0.2 else 0.3)
        if kind < 0.15:
            await anyio.sleep(way_s)
            permit.refund()
            return
        self.counted.append((anyio.current_time() + self.random.uniform(0, way_s), step, who))
        await anyio.sleep(way_s)
        permit.cool(answered=kind > 0.25)

    async def work(self, gates: list[Gate]) -> None:
        async def worker(who: int) -> None:
            while True:
                await self.request(gates[who], who)
                await anyio.sleep(self.random.choice([0, 0, 0, 0.5, 20]))

        async with anyio.create_task_group() as tasks:
            for who in (0, 0, 0, 1, 1):
                tasks.start_soon(worker, who)

    async def live(self, steps: list[Step]) -> list[tuple[float, float]]:
        """Live through the steps, and return when each began and ended."""
        spans, number = list[tuple[float, float]](), 0
        while number < len(steps):
            if steps[number].begins == "reboot":
                self.clock.reboot()
            governor = Governor(self.clock, self.ledger, f"life {number}", list(self.ledger.records.values()))
            async with anyio.create_task_group() as tasks:
                gates: list[Gate] = []
                while True:
                    step, began = steps[number], anyio.current_time()
                    for who, client in enumerate(clients(step)):
                        self.steps[who] = number
                        gate = governor.gate(client)
                        if who == len(gates):
                            gates.append(self.watch(gate, who))
                    if not spans or steps[number].begins != "reload":
                        tasks.start_soon(self.work, gates)
                    await anyio.sleep(step.lasts_s)
                    spans.append((began, anyio.current_time()))
                    number += 1
                    if number == len(steps) or steps[number].begins != "reload":
                        break
                tasks.cancel_scope.cancel()
        return spans


def clients(step: Step) -> list[ClientQuota]:
    return [
        a_client(own, step.platform, client_id=name, timeout_s=TIMEOUT_S)
        for name, own in zip("ab", step.quotas, strict=True)
    ]


def most(counted: list[tuple[float, int, int]], step: int, until: float, window: Window) -> int:
    """Return how many requests at most are in a window that ends within a step and has one that was granted in it."""
    length_s, found = window.per.total_seconds(), 0
    counted = sorted(counted)
    for end, _, _ in counted:
        if end <= until:
            inside = [of for at, of, _ in counted if end - length_s < at <= end]
            found = max(found, len(inside) if step in inside else 0)
    return found


@examples(150)
@given(seed=st.integers(0, 2**32), steps=st.lists(STEPS, min_size=1, max_size=6))
async def test_no_sequence_of_changes_reloads_and_restarts_sends_more_than_the_quota_in_force(
    seed: int, steps: list[Step]
) -> None:
    world = World(Random(seed))
    spans = await world.live([replace(steps[0], begins="restart"), *steps[1:]])
    for number, (step, (_, ended)) in enumerate(zip(steps, spans, strict=True)):
        for who, own in enumerate(step.quotas):
            mine = [one for one in world.counted if one[2] == who]
            for window in own.windows:
                assert most(mine, number, ended, window) <= window.requests, (number, who, window)
        for window in step.platform.windows if step.platform else ():
            assert most(world.counted, number, ended, window) <= window.requests, (number, "platform", window)


async def sent(governor: Governor, client: ClientQuota, requests: int, *, lasts_s: float = 0.1) -> Gate:
    """Send so many requests one after the other, and return their gate."""
    gate = governor.gate(client)
    for _ in range(requests):
        permit = await gate.acquire()
        assert await permit.put_on_record(TIMEOUT_S)
        await anyio.sleep(lasts_s)
        permit.cool()
    return gate


async def first_waits(before: ClientQuota, after: ClientQuota, how: str, *, requests: int = 1) -> float:
    """Send so many requests, change the quota, and return how long the next request waits."""
    ledger, clock = MemoryLedger(), VirtualClock()
    governor = a_governor(clock, ledger, "before")
    await sent(governor, before, requests, lasts_s=0.001)
    if how == "restart":
        governor = a_governor(clock, ledger, "after")
    start = anyio.current_time()
    await sent(governor, after, 1, lasts_s=0.0)
    return anyio.current_time() - start


MINUTE, DAY = (3, 60.0), (5000, 86_400.0)


async def test_a_permit_that_was_granted_before_a_change_is_given_back_while_nothing_may_be_sent() -> None:
    governor = a_governor()
    await sent(governor, a_client(quota(MINUTE)), 1, lasts_s=0.0)
    early = await governor.gate(a_client(quota(MINUTE))).acquire()
    gate = governor.gate(a_client(quota((30, 600.0))))
    assert not await early.put_on_record(TIMEOUT_S)
    await anyio.sleep(600)
    late = await gate.acquire()
    assert await late.put_on_record(TIMEOUT_S)


async def test_what_a_change_costs_is_told_before_it_counts() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    before, hour = quota(MINUTE), quota((100, 3600.0))
    await sent(a_governor(clock, ledger), a_client(before), 1, lasts_s=0.0)

    def found(own: Quota, platform: Quota | None = None) -> dict[str, float]:
        other = a_client(quota(DAY), platform, client_id="other")
        return silences({"acme": a_client(own, platform), "other": other}, list(ledger.records.values()), clock)

    assert found(before) == {}
    assert found(hour) == {"acme": pytest.approx(3540, rel=0.01)}
    assert found(quota((1, 30.0))) == {"acme": pytest.approx(30, rel=0.01)}
    assert found(quota((1, 0.9))) == {}  # a wait of up to a second is not worth telling
    assert found(before, hour) == dict.fromkeys(["acme", "other"], pytest.approx(3540, rel=0.01))


HOW = pytest.mark.parametrize("how", ["reload", "restart"])


@HOW
@pytest.mark.parametrize(("requests", "waits_s"), [(2, 0.0), (3, 60.0)])
@pytest.mark.parametrize(
    ("before", "after", "platform"),
    [
        (quota(DAY), quota(MINUTE), None),
        (quota(DAY), quota(MINUTE, DAY), None),
        (quota(MINUTE, (4, 3600.0)), quota(MINUTE), None),
        (quota((100, 61.0)), quota(MINUTE), None),
        (quota(DAY), quota(DAY), quota(MINUTE)),
        (quota((100, 60.0)), quota((100, 60.0)), quota(MINUTE)),
    ],
)
async def test_what_was_sent_within_a_new_window_is_subtracted_and_not_waited_for(
    before: Quota, after: Quota, platform: Quota | None, how: str, requests: int, waits_s: float
) -> None:
    found = await first_waits(a_client(before), a_client(after, platform), how, requests=requests)
    assert found == pytest.approx(waits_s, abs=0.1)


@HOW
@pytest.mark.parametrize(
    ("before", "after", "platform", "waits_s"),
    [
        (quota(MINUTE), quota((30, 600.0)), None, 540.0),
        (quota(MINUTE), quota(MINUTE, (30, 600.0)), None, 540.0),
        (quota((3, 5.0)), quota((3, 5.0)), quota((30, 60.0)), 55.0),
    ],
)
async def test_what_may_have_been_sent_before_the_records_reach_is_waited_for_as_long_as_the_new_window_lasts(
    before: Quota, after: Quota, platform: Quota | None, waits_s: float, how: str
) -> None:
    assert await first_waits(a_client(before), a_client(after, platform), how) == pytest.approx(waits_s, rel=0.01)


async def test_records_that_a_request_in_flight_may_have_overwritten_are_waited_for_from_its_sending() -> None:
    governor = a_governor()
    permit = await governor.gate(a_client(quota(MINUTE))).acquire()
    assert await permit.put_on_record(TIMEOUT_S)
    assert governor.gate(a_client(quota((30, 600.0)))).silence_s() == pytest.approx(540, rel=0.01)


@HOW
async def test_a_slip_that_is_taken_back_costs_no_more_than_the_slip(how: str) -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    governor, start = a_governor(clock, ledger, "life"), anyio.current_time()
    for number, own in enumerate((quota(DAY), quota((5000, 60.0)), quota((5000, 366 * 86_400.0)), quota(DAY))):
        if how == "restart":
            governor = a_governor(clock, ledger, f"life {number}")
        await sent(governor, a_client(own), 3 if own.per.days < 366 else 0)
    assert anyio.current_time() - start < 2


async def test_no_restart_without_a_change_waits_for_anything_though_requests_never_left() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    client = a_client(quota((5, 10.0), (1000, 86_400.0)), quota((100, 3600.0)))
    for life in range(4):
        governor, start = a_governor(clock, ledger, f"life {life}"), anyio.current_time()
        gate = await sent(governor, client, 1)
        for _ in range(2):
            permit = await gate.acquire()
            assert await permit.put_on_record(TIMEOUT_S)
            await anyio.sleep(200)
            permit.refund()
        assert anyio.current_time() - start == pytest.approx(400.1)


async def test_what_was_carried_over_stays_known_after_another_restart() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    start = anyio.current_time()
    for life, own in enumerate((quota((4, 600.0)), quota((3, 60.0), (4, 300.0)), quota((4, 300.0)))):
        await sent(a_governor(clock, ledger, f"life {life}"), a_client(own), (3, 1, 1)[life])
    assert anyio.current_time() - start == pytest.approx(cools_for(quota((1, 300.0))), abs=1)
