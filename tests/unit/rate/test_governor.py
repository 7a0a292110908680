from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from datetime import timedelta

import anyio

from adsyncd import rate
from adsyncd.rate.quota import ClientQuota, Quota
from support.gates import MemoryLedger, a_client, a_governor, a_quota
from support.virtual_time import VirtualClock


async def test_a_client_id_has_one_gate_of_its_own() -> None:
    governor = a_governor()
    gate = governor.gate(a_client(a_quota(10)))
    assert governor.gate(a_client(a_quota(10), weight=3)) is gate
    assert gate.weight == 3
    assert governor.gate(a_client(a_quota(10), client_id="other")) is not gate


async def test_requests_of_client_ids_that_are_here_already_count_once_their_platform_has_a_quota() -> None:
    governor = a_governor()
    here = governor.gate(a_client(a_quota(10)))
    new = governor.gate(a_client(a_quota(10), a_quota(2), client_id="other"))
    assert here.acquire_nowait()
    assert new.acquire_nowait()
    assert new.acquire_nowait() is None


async def test_a_larger_quota_of_the_platform_grants_to_those_who_wait_though_another_client_id_adopts_it() -> None:
    governor = a_governor()
    gate = governor.gate(a_client(a_quota(10), a_quota(1)))
    assert gate.acquire_nowait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate.acquire)
        await anyio.wait_all_tasks_blocked()
        assert gate.waiting == 1
        governor.gate(a_client(a_quota(10), a_quota(2), client_id="other"))
        assert gate.waiting == 0


async def test_the_example_in_the_docstring_of_the_package_works() -> None:
    indented = [line[4:] for line in (rate.__doc__ or "").splitlines() if line.startswith("    ")]
    example = "\n".join(indented[indented.index(next(line for line in indented if line.startswith("governor = "))) :])
    sent, ledger = list[str](), MemoryLedger()

    async def send() -> None:
        sent.append("a request")

    imported = {"Governor": rate.Governor, "ClientQuota": ClientQuota, "Quota": Quota, "timedelta": timedelta}
    given = {"clock": VirtualClock(), "ledger": ledger, "records_of_the_ledger": [], "send": send}
    running = eval(compile(example, "example", "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT), imported | given)
    await running
    assert sent == ["a request"]
    assert len(ledger.records) == 1
