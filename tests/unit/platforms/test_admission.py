"""What a request waits for before it leaves, and that it waits with empty hands."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

import anyio
import httpx
import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import Unavailable
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.platforms.call import Call, Kind
from adsyncd.rate import Gate, Governor
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import Quota
from support.gates import MemoryLedger
from support.governed import a_request, a_transport
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

PER_S = 60.0
SHARED = Platform("mixo", "http://ads.invalid", shipped_profile(), quota=Quota(2, timedelta(seconds=PER_S)))


class Scene:
    """Tenants of a platform that has a quota for all of them."""

    def __init__(self, ledger: MemoryLedger | None = None, owner: str = "me") -> None:
        self.clock = VirtualClock()
        self.governor = Governor(self.clock, ledger or MemoryLedger(), owner)
        self.breaker = Breaker("ads.invalid", self.clock, Random(7), lambda: None)

    def tenant(self, id_: str, requests: int) -> Tenant:
        quota = Quota(requests, timedelta(seconds=PER_S))
        return a_tenant(id=id_, client_id=id_, platform=SHARED, quota=quota)


class Client:
    """A tenant's way to the platform. It has tokens that live for `life_s`; a sign-in takes `takes_s`."""

    def __init__(
        self, scene: Scene, id_: str, *, life_s: float = 3600.0, takes_s: float = 0.1, requests: int = 10
    ) -> None:
        tenant = scene.tenant(id_, requests)
        self.gate = scene.governor.gate(tenant.client_quota)
        self.life_s, self.takes_s = life_s, takes_s
        self.expires_at = 0.0
        self.sign_ins = 0
        self.failure: Exception | None = None
        self.left_at: list[float] = []
        self.transport = a_transport(self._answer, tenant=tenant, gate=self.gate, breaker=scene.breaker)

    async def authorized(self) -> None:
        if anyio.current_time() >= self.expires_at:
            await self.sign_in()

    def authorize(self, _request: httpx.Request) -> bool:
        return anyio.current_time() < self.expires_at

    async def keep_authorized(self) -> None:
        while True:
            await anyio.sleep(max(1.0, self.expires_at - self.takes_s - 0.5 - anyio.current_time()))
            await self.sign_in()

    async def sign_in(self) -> None:
        self.sign_ins += 1
        await anyio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        self.expires_at = anyio.current_time() + self.life_s

    async def send(self) -> None:
        await self.transport.handle_async_request(a_request(Call(Kind.PUSH, authority=self)))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        assert self.authorize(request)
        self.left_at.append(anyio.current_time())
        return httpx.Response(200)


async def test_tenants_whose_sign_in_hangs_take_nothing_of_the_quota_that_they_share_with_others() -> None:
    scene = Scene()
    sick = [Client(scene, f"sick-{number}", takes_s=1e6) for number in range(40)]
    healthy = Client(scene, "healthy")
    async with anyio.create_task_group() as tasks:
        for client in sick:
            for _ in range(5):
                tasks.start_soon(client.send)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        for _ in range(2):
            await healthy.send()
        assert anyio.current_time() - start == pytest.approx(0.1)
        tasks.cancel_scope.cancel()


async def test_a_sign_in_that_fails_has_taken_nothing_of_any_quota() -> None:
    scene = Scene()
    client = Client(scene, "acme")
    client.failure = Unavailable("down")
    for _ in range(30):
        with pytest.raises(Unavailable):
            await client.send()
    assert client.gate.free == 10


async def test_a_request_whose_token_runs_out_while_it_waits_gives_its_permits_to_others_and_signs_in() -> None:
    scene = Scene()
    acme, other = Client(scene, "acme", life_s=30), Client(scene, "other")
    await acme.send()
    await acme.send()  # so the platform's quota is used up
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(acme.send)
        await anyio.sleep(1)
        tasks.start_soon(other.send)
        tasks.start_soon(other.send)
        acme.takes_s = 25.0
        await anyio.sleep(PER_S + 10)
        assert (len(other.left_at), len(acme.left_at), acme.gate.free) == (2, 2, 10)
    assert (len(acme.left_at), acme.sign_ins >= 3) == (3, True)


class SlowLedger(MemoryLedger):
    """Takes a second for each claim, so that others come meanwhile."""

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        await anyio.sleep(1)
        return await super().claim_permits(claims)


@pytest.mark.parametrize("brief_tokens", [False, True])
async def test_who_comes_again_since_another_process_had_its_permit_stands_before_those_who_came_later(
    brief_tokens: bool,
) -> None:
    ledger = SlowLedger()
    theirs = Client(Scene(ledger, "another process"), "acme", requests=1)
    ours = Client(Scene(ledger), "acme", requests=1)
    ours.transport._admission._tokens_run_out = brief_tokens
    await theirs.send()
    order: list[int] = []

    async def send(number: int) -> None:
        await ours.send()
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(send, number)
            await anyio.sleep(0.1)
    assert order == [0, 1, 2, 3]


@pytest.mark.parametrize("life_s", [2.0, 10.0, 50.0])
async def test_a_token_that_lives_shorter_than_the_wait_for_quota_keeps_nobody_waiting_for_ever(life_s: float) -> None:
    scene = Scene()
    brief = Client(scene, "brief", life_s=life_s)
    others = [Client(scene, f"other-{number}") for number in range(4)]
    async with anyio.create_task_group() as tasks:
        for client in (brief, *others):
            tasks.start_soon(again_and_again, client)
        await anyio.sleep(3600)
        tasks.cancel_scope.cancel()
    fair = 3600 / PER_S * 2 / 5
    assert len(brief.left_at) >= fair / 2
    assert min(len(other.left_at) for other in others) >= fair - 2


async def again_and_again(client: Client) -> None:
    while True:
        await client.send()


async def test_a_permit_that_is_granted_while_its_request_is_cancelled_is_given_back() -> None:
    class Lingering(Client):
        async def keep_authorized(self) -> None:
            try:
                await super().keep_authorized()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)

    client = Lingering(Scene(), "acme", requests=1)
    client.transport._admission._tokens_run_out = True
    await client.send()
    with anyio.move_on_after(cools_for(Quota(1, timedelta(seconds=PER_S))) + 0.5) as waited:  # granted, not left yet
        await client.send()
    assert waited.cancelled_caught
    assert (client.gate.free, len(client.left_at)) == (1, 1)


@pytest.mark.parametrize("after_s", [1.0, PER_S + 1.0, PER_S + 1.05, PER_S + 30.0])
async def test_who_is_cancelled_while_it_waits_leaves_all_permits(after_s: float) -> None:
    scene = Scene()
    client = Client(scene, "acme", life_s=5)
    client.transport._admission._tokens_run_out = True
    await client.send()
    await client.send()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.send)
        await anyio.sleep(after_s)
        tasks.cancel_scope.cancel()
    await anyio.sleep(2 * PER_S)
    assert client.gate.free == 10
    client.life_s = 3600
    start = anyio.current_time()
    await client.send()
    await client.send()
    assert anyio.current_time() - start < 1


@pytest.mark.parametrize("waits", [False, True])
async def test_a_request_takes_as_many_permits_as_its_call_costs_whether_it_waits_or_not(waits: bool) -> None:
    scene = Scene()
    tenant = scene.tenant("acme", 5)
    gate = scene.governor.gate(replace(tenant, platform=replace(SHARED, quota=None)).client_quota)
    transport = a_transport(taken(gate), tenant=tenant, gate=gate, breaker=scene.breaker)
    held = gate.acquire_nowait(3) if waits else None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.handle_async_request, a_request(Call(Kind.PUSH, cost=3)))
        await anyio.sleep(1)
        assert gate.limiter.held == 3
        if held is not None:
            held.refund()
    assert (gate.free, gate.limiter.held) == (2, 0)


def taken(gate: Gate) -> Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]:
    """Return a platform that finds three permits taken, and answers after two seconds."""

    async def answer(_request: httpx.Request) -> httpx.Response:
        assert gate.limiter.held == 3
        await anyio.sleep(2)
        return httpx.Response(200)

    return answer
