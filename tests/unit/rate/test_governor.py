from support.gates import a_client, a_governor, a_quota


async def test_a_client_id_has_one_gate_whoever_asks_and_shares_it_with_no_other() -> None:
    governor = a_governor()
    gate = governor.gate(a_client(a_quota(10)))
    assert governor.gate(a_client(a_quota(10), weight=3)) is gate
    assert gate.weight == 3
    assert governor.gate(a_client(a_quota(10), client_id="other")) is not gate
