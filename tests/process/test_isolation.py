"""Twenty tenants in one daemon, ten of them sick in ten ways: the others do not notice, each sick one says its own."""

import datetime as dt
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from support.platform import HEALTHY, accounts, running_platform
from support.program import Program
from support.vault import real_openbao

CAMPAIGNS = 20
HEALTHY_TENANTS = [f"well-{number}" for number in range(10)]
MOST_MB = 60  # that the peak may be above what a daemon needs that has just become ready

# What each sick tenant's drop-in says, and how the platform treats it.
SICK: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "wrong-password": ({}, {}),
    "unknown-path": ({"credentials": {"vault": "adsyncd/nowhere"}}, {}),
    "hanging": ({"sync": {"timeout": "300ms"}}, {"fault": "hang"}),
    "endless": (
        {"quota": {"requests": 500, "per": "2s"}},
        {"fault": "endless", "quota_requests": 500, "quota_window_s": 2},
    ),
    "huge": ({}, {"fault": "huge"}),
    "html": ({}, {"fault": "html"}),
    "unauthorized": ({"sync": {"max_attempts": 10}}, {"fault": "unauthorized"}),
    "little-quota": (
        {"quota": {"requests": 1, "per": "10s"}, "sync": {"run_deadline": "5s"}},
        {"quota_requests": 1, "quota_window_s": 10},
    ),
    "no-address": ({"platform": "nowhere"}, {}),
    "expired": ({"platform": "expired"}, {}),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    runs: Mapping[str, Mapping[str, Any]]
    ledger: Mapping[str, Mapping[str, Any]]
    ready_kb: int
    peak_kb: int
    log: str


@pytest.fixture(scope="module")
async def evidence(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evidence]:
    """What is known after all twenty have run once."""
    folder = tmp_path_factory.mktemp("isolation")
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": 0.05, "quota_requests": 50, "quota_window_s": 2}
    tenants = [*HEALTHY_TENANTS, *SICK]
    settings = {
        "everyone": everyone,
        "accounts": accounts(*tenants),
        "clients": {tenant: treatment for tenant, (_, treatment) in SICK.items()},
    }
    async with AsyncExitStack() as stack:
        vault = await stack.enter_async_context(real_openbao())
        platform = await stack.enter_async_context(running_platform(settings))
        expired = await stack.enter_async_context(running_platform(settings, *expired_certificate(folder)))
        role = await vault.put_role("adsyncd", "adsyncd/*")
        program = Program(
            folder, {"SECRET_ID": role.secret_id.get_secret_value(), "SSL_CERT_FILE": str(folder / "ca.pem")}
        )
        program.settings(
            vault={
                "address": vault.address,
                "auth": {"method": "approle", "role_id": role.role_id, "secret_id": {"env": "SECRET_ID"}},
            },
            platforms={
                "mixo": {"base_url": platform.base_url},
                "nowhere": {"base_url": "https://ads.invalid"},
                "expired": {"base_url": expired.base_url},
            },
            defaults={"quota": {"requests": 50, "per": "2s"}},
        )
        for tenant in tenants:
            password = "wrong" if tenant == "wrong-password" else f"pw-{tenant}"
            await vault.put_secret(f"adsyncd/{tenant}", {"email": f"{tenant}@example.com", "password": password})
            keys = dict(SICK[tenant][0]) if tenant in SICK else {}
            sync = {"max_attempts": 2, **keys.pop("sync", {})} if tenant in SICK else {}
            program.tenant(tenant, **{"credentials": {"vault": f"adsyncd/{tenant}"}, "sync": sync, **keys})
        async with program.daemon() as daemon:
            await daemon.logs("ready")
            ready_kb = memory_kb(daemon.process.pid, "VmRSS")
            await daemon.logs("run ended", len(tenants))
            peak_kb = memory_kb(daemon.process.pid, "VmHWM")
        yield Evidence(
            await program.runs(),
            {tenant: await platform.ledger(tenant) for tenant in tenants},
            ready_kb,
            peak_kb,
            daemon.log.read_text(),
        )


def expired_certificate(folder: Path) -> tuple[str, ...]:
    """Options that make a platform show a certificate that ran out yesterday, of the CA in `ca.pem`."""
    authority = trustme.CA()
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates live by the real time
    day = dt.timedelta(days=1)
    certificate = authority.issue_cert("127.0.0.1", not_before=now - 2 * day, not_after=now - day)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return "--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem")


def memory_kb(pid: int, what: str) -> int:
    match = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1])


async def test_the_healthy_finish_as_if_alone(evidence: Evidence) -> None:
    for tenant in HEALTHY_TENANTS:
        run, ledger = evidence.runs[tenant], evidence.ledger[tenant]
        assert (run["outcome"], run["error"]) == ("succeeded", None)
        assert (run["listed"], run["pushed"], run["failed"], run["retries"]) == (CAMPAIGNS, CAMPAIGNS, 0, 0)
        assert (run["refused"], ledger["refused"]) == (0, 0)
        assert len(ledger["effects"]) == CAMPAIGNS
        assert all(sum(by_key.values()) == 1 for by_key in ledger["effects"].values())


# What an operator reads in `adsyncd runs`: the place, the trouble, and where it isn't plain, the fix.
ERRORS = {
    "wrong-password": r"the platform refused email and password; fix them where the drop-in's credentials point",
    "unknown-path": r"Vault at http://127.0.0.1:\d+ has nothing at secret/adsyncd/nowhere; write email and",
    "hanging": r"127.0.0.1:\d+ did not answer within 0.3 s \(sync.timeout\)",
    "endless": r"after 310 campaigns of the 20 that it names in all, the platform still announces more",
    "huge": r"the platform's answer is larger than 2 MiB; a smaller sync.page_size may help",
    "html": r"the platform's answer is not what its API promises: an HTML page, as from a proxy or a wrong base_url",
    "little-quota": r"the quota is used up for another 10 s, longer than the run may last; lengthen sync.run_deadline",
    "no-address": r"no connection to ads.invalid: .*(not known|name resolution|No address)",
    "expired": r"no connection to 127.0.0.1:\d+: .*certificate has expired",
}


@pytest.mark.parametrize("tenant", ERRORS)
async def test_each_of_the_sick_says_what_it_has(tenant: str, evidence: Evidence) -> None:
    run = evidence.runs[tenant]
    assert run["outcome"] == "failed"
    assert re.match(ERRORS[tenant], run["error"])
    assert (run["refused"], evidence.ledger[tenant]["refused"]) == (0, 0)
    assert run["listed"] == run["pushed"] + run["skipped"] + run["dead_lettered"] + run["failed"]


async def test_a_401_to_each_call_at_first_costs_a_new_token_and_a_retry_each_and_no_campaign(
    evidence: Evidence,
) -> None:
    run, ledger = evidence.runs["unauthorized"], evidence.ledger["unauthorized"]
    assert (run["outcome"], run["pushed"], run["error"]) == ("succeeded", CAMPAIGNS, None)
    pages = CAMPAIGNS // 10
    assert run["retries"] == ledger["accepted"] - CAMPAIGNS - pages >= CAMPAIGNS
    assert 1 < ledger["tokens_issued"] <= 1 + run["retries"]
    assert all(list(by_key.values()) == [1] for by_key in ledger["effects"].values())


async def test_a_hundred_megabytes_of_one_tenant_are_not_kept_in_the_memory_of_all(evidence: Evidence) -> None:
    assert evidence.peak_kb - evidence.ready_kb < MOST_MB * 1000


async def test_no_trouble_of_a_tenant_s_is_a_mistake_of_ours(evidence: Evidence) -> None:
    assert "Traceback" not in evidence.log
    assert set(evidence.runs) == {*HEALTHY_TENANTS, *SICK}
