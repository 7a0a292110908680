from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from datetime import timedelta

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
