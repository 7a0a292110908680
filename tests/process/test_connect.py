"""`adsyncd check --connect` as a process: all tenants are probed side by side, and nothing is pushed."""

from support.platform import Platform
from support.program import Program


async def test_each_enabled_tenant_is_probed_with_a_permit_of_its_own(program: Program, platform: Platform) -> None:
    program.tenant("acme")
    program.tenant("globex", credentials={"env": "NONE"})
    program.tenant("initech", quota={"requests": 1, "per": "1h"})
    program.tenant("off", client_id="acme", enabled=False)
    shown = await program.run("check", "--connect", "--match", "*e*")
    assert shown.returncode == 1
    *lines, last = [line for line in shown.stdout.decode().splitlines() if "ready" not in line]
    assert last == "3 tenants probed, 2 ok, 1 failed at credentials"
    told = dict(line.split(": ", 1) for line in lines)
    assert told.keys() == {"acme", "globex", "initech"}
    assert told["acme"].startswith("ok (")
    assert told["globex"].startswith("credentials: ")
    ledger = await platform.ledger("acme")
    assert (ledger["accepted"], ledger["effects_total"]) == (1, 0)

    again = await program.ask("check", "--connect", code=1)
    assert [(one["severity"], one["key"]) for one in again["problems"]] == [("warning", "tenant initech")]
    found = {one["tenant"]: (one["ok"], one["failed"]) for one in again["tenants"]}
    assert found == {"acme": (True, None), "globex": (False, "credentials"), "initech": (False, "quota")}
    assert (await program.run("check", "--connect", "--match", "acme")).returncode == 0
    assert (await program.run("check", "--match", "acme")).returncode == 2
