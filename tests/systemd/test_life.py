"""A daemon at work under systemd: reloaded, hung, killed, stopped, and doing what it is for in its sandbox."""

import json
from collections.abc import AsyncIterator

import anyio
import pytest

from adsyncd.demo.openbao import OpenBao
from support.platform import HEALTHY, Platform, accounts, running_platform
from support.service import Service, until
from support.vault import real_openbao

CAMPAIGNS = 30
EMAIL = "acme@example.com"
AMPLE = {"requests": 1000, "per": "1s"}
BLOCK = "import signal; signal.signal(signal.SIGUSR2, lambda *_: __import__('time').sleep(600))\n"


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    settings = {"accounts": accounts("acme", "globex"), "everyone": {**HEALTHY, "campaigns": CAMPAIGNS}}
    async with running_platform(settings) as running:
        yield running


@pytest.fixture
async def vault() -> AsyncIterator[OpenBao]:
    async with real_openbao() as server:
        yield server


def configure(service: Service, platform: Platform, **tables: object) -> None:
    """Serve acme, whose credentials are systemd's."""
    service.settings(platforms={"mixo": {"base_url": platform.base_url}}, **tables)
    service.override("LoadCredential=acme")
    service.credential("acme", '{"email": "acme@example.com", "password": "pw-acme"}')
    service.tenant("acme", credentials={"credential": "acme"}, quota=AMPLE)


async def configure_vault(service: Service, platform: Platform, vault: OpenBao, **keys: object) -> str:
    """Serve acme, whose credentials are in Vault, and return the secret id with which they are read."""
    role = await vault.put_role("adsyncd", "adsyncd/*")
    await vault.put_secret("adsyncd/acme", {"email": EMAIL, "password": "pw-acme"})
    auth = {"method": "approle", "role_id": role.role_id, "secret_id": {"credential": "vault-secret-id"}}
    service.settings(
        platforms={"mixo": {"base_url": platform.base_url}}, vault={"address": vault.address, "auth": auth}
    )
    service.credential("adsyncd.vault-secret-id", role.secret_id.get_secret_value())
    service.tenant("acme", credentials={"vault": "adsyncd/acme"}, quota=AMPLE, **keys)
    return role.secret_id.get_secret_value()


async def pushed(platform: Platform, count: int) -> None:
    """Return once so many pushes have taken effect."""
    with anyio.fail_after(30):
        while (await platform.ledger("acme"))["effects_total"] < count:  # noqa: ASYNC110 - another process's
            await anyio.sleep(0.05)


async def ends_well(service: Service, platform: Platform) -> None:
    """See the only run succeed, and each push have taken effect once."""
    await until(lambda: service.query("SELECT 1 FROM runs WHERE outcome IS NOT NULL"))
    assert service.query("SELECT outcome, pushed FROM runs") == [("succeeded", CAMPAIGNS)]
    effects = (await platform.ledger("acme"))["effects"]
    assert [sum(by_key.values()) for by_key in effects.values()] == [1] * CAMPAIGNS


async def test_a_hardened_service_syncs_with_secrets_from_its_credentials_alone(
    service: Service, platform: Platform, vault: OpenBao
) -> None:
    secret_id = await configure_vault(service, platform, vault)
    service.systemctl("start")
    await ends_well(service, platform)

    process = f"/proc/{service.show('MainPID')}"
    environ = service.machine.run("cat", f"{process}/environ").stdout
    assert secret_id not in environ
    assert "CREDENTIALS_DIRECTORY=/run/credentials/adsyncd.service" in environ
    status = service.machine.run("cat", f"{process}/status").stdout
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    database = service.machine.path("/var/lib/adsyncd/adsyncd.db")
    assert database.stat().st_mode & 0o777 == 0o600
    for written in (database, *database.parent.glob("adsyncd.db-*")):
        assert b"pw-acme" not in written.read_bytes()
    service.systemctl("stop")
    assert all("pw-acme" not in str(entry) for entry in service.journal())


async def test_a_password_that_is_rotated_in_the_midst_of_a_run_costs_one_refusal_and_no_campaign(
    service: Service, platform: Platform, vault: OpenBao
) -> None:
    await platform.change(everyone={"push_latency_s": 0.1})
    await configure_vault(service, platform, vault, sync={"concurrency": 1, "page_size": CAMPAIGNS})
    service.systemctl("start")
    await pushed(platform, 5)
    await vault.put_secret("adsyncd/acme", {"email": EMAIL, "password": "new"})
    await platform.change(accounts={EMAIL: {"password": "new", "generation": 1}})  # ends the old one's tokens
    await ends_well(service, platform)
    ledger = await platform.ledger("acme")
    assert ledger["tokens_issued"] == 2
    [(requests,)] = service.query("SELECT requests FROM runs")
    assert requests - ledger["accepted"] == 1  # the one that was refused


async def test_a_killed_service_is_back_and_goes_on_with_its_run(service: Service, platform: Platform) -> None:
    await platform.change(everyone={"push_latency_s": 0.3})
    configure(service, platform)
    service.systemctl("start")
    await pushed(platform, 3)
    service.kill("SIGKILL")
    await until(lambda: service.show("NRestarts") == "1")
    await ends_well(service, platform)


@pytest.mark.parametrize("hang", ["process", "event loop"])
async def test_a_service_that_hangs_is_restarted_and_goes_on_with_its_run(
    service: Service, platform: Platform, hang: str
) -> None:
    await platform.change(everyone={"push_latency_s": 0.3})
    configure(service, platform)
    service.override("LoadCredential=acme", "WatchdogSec=2", "TimeoutAbortSec=1")
    [library] = service.machine.path("/opt/adsyncd/lib").glob("python3.*/site-packages")
    (library / "block.pth").write_text(BLOCK)  # from outside: the program has no way to hang on purpose
    service.systemctl("start")
    (library / "block.pth").unlink()
    await pushed(platform, 3)
    service.kill({"process": "SIGSTOP", "event loop": "SIGUSR2"}[hang])
    await until(lambda: service.show("NRestarts") == "1")
    await ends_well(service, platform)
    said = "\n".join(entry["MESSAGE"] for entry in service.journal())
    assert "Watchdog timeout" in said, said
    assert "Current thread" in said  # where it hung


async def test_a_service_that_is_well_is_left_alone_by_its_watchdog(service: Service, platform: Platform) -> None:
    configure(service, platform)
    service.override("LoadCredential=acme", "WatchdogSec=1")
    service.systemctl("start")
    before = service.show("WatchdogTimestampMonotonic")
    await until(lambda: int(service.show("WatchdogTimestampMonotonic")) > int(before) + 3_000_000)
    assert service.show("NRestarts") == "0"


async def test_a_stop_in_the_middle_of_a_run_takes_the_time_that_it_needs_and_the_next_start_goes_on(
    service: Service, platform: Platform
) -> None:
    await platform.change(everyone={"push_latency_s": 3})
    configure(service, platform, shutdown_grace="20s")
    service.override("LoadCredential=acme", "TimeoutStopSec=1")  # the daemon asks for more
    service.systemctl("start")
    await pushed(platform, 1)
    service.systemctl("stop")
    assert service.show("Result") == "success"
    [(settled,)] = service.query("SELECT count(*) FROM pushes WHERE state = 'pushed'")
    assert 0 < settled == (await platform.ledger("acme"))["effects_total"] < CAMPAIGNS
    await platform.change(everyone={"push_latency_s": 0})
    service.systemctl("start")
    await ends_well(service, platform)


async def test_a_second_signal_cuts_a_stop_short(service: Service, platform: Platform) -> None:
    await platform.change(everyone={"push_latency_s": 60})
    configure(service, platform, shutdown_grace="10m")
    service.tenant("acme", credentials={"credential": "acme"}, quota=AMPLE, sync={"timeout": "5m"})
    service.systemctl("start")
    await until(lambda: service.query("SELECT 1 FROM pushes"))
    service.machine.run("systemctl", "stop", "--no-block", "adsyncd")
    await until(lambda: service.show("ActiveState") == "deactivating")
    await until(lambda: any(entry["MESSAGE"].startswith("stopping") for entry in service.journal()))
    service.kill("SIGTERM")
    await until(lambda: service.show("ActiveState") == "inactive", within_s=20)
    assert service.show("Result") == "success"


async def test_a_reload_returns_when_it_is_done_and_fails_when_a_file_is_refused(
    service: Service, platform: Platform
) -> None:
    configure(service, platform)
    service.systemctl("start")
    await ends_well(service, platform)
    files = service.machine.path("/etc/adsyncd/tenants.d")

    service.tenant("globex", credentials={"credential": "acme"})
    service.systemctl("reload")
    await until(lambda: service.show("StatusText").startswith("2 tenants; "))

    good = (files / "globex.toml").read_text()
    (files / "globex.toml").write_text(good + "nonsense = true\n")
    assert service.systemctl("reload", check=False).returncode != 0
    assert service.show("ActiveState") == "active"
    await until(lambda: service.show("StatusText").endswith("1 file refused"))
    assert "globex.toml" in "".join(entry["MESSAGE"] for entry in service.journal("-p", "err"))

    (files / "globex.toml").write_text(good)
    service.systemctl("reload")
    await until(lambda: "refused" not in service.show("StatusText"))
    assert service.show("StatusText").startswith("2 tenants; ")
    assert service.show("NRestarts") == "0"


async def test_the_journal_can_be_asked_for_a_tenant_a_run_and_what_went_wrong(
    service: Service, platform: Platform
) -> None:
    configure(service, platform)
    await platform.change(clients={"acme": {"rejected": ["cmp-0001"]}})
    service.systemctl("start")
    await until(lambda: service.journal("ADSYNCD_TENANT=acme", "ADSYNCD_EVENT=run ended"))
    [run] = json.loads(service.command("runs", "--json"))
    [entry] = service.journal(f"ADSYNCD_RUN_ID={run['run_id']}", f"TRACE_ID={run['trace_id']}")
    assert (entry["PRIORITY"], entry["_TRANSPORT"], entry["ADSYNCD_OUTCOME"]) == ("4", "journal", "partial")
    assert "outcome=partial" in entry["MESSAGE"]
    assert entry in service.journal("-p", "warning")
    assert service.journal("-p", "err") == []


async def test_the_commands_find_what_the_service_left(service: Service, platform: Platform) -> None:
    configure(service, platform)
    service.systemctl("start")
    await ends_well(service, platform)
    service.systemctl("stop")
    assert "store: SQLite finds it intact" in service.command("check", "--store")
    assert json.loads(service.command("runs", "--json"))[0]["outcome"] == "succeeded"
