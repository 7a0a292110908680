"""A daemon that may open few files for all its tenants: that is named, nobody else is blamed, and all is done."""

from pathlib import Path

from support.platform import HEALTHY, accounts, environ_of, running_platform
from support.program import Program

TENANTS = [f"tenant{number}" for number in range(40)]
DESCRIPTORS = 64  # of which the daemon needs half for itself, and each of its tenants six


class Confined(Program):
    """An installation whose processes may have few file descriptors."""

    def _command(self, command: str, *arguments: str) -> list[str]:
        limit = f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"
        return ["prlimit", limit, *super()._command(command, *arguments)]


async def test_too_few_descriptors_for_all_tenants_cost_time_and_no_run_and_are_blamed_on_nobody(
    tmp_path: Path,
) -> None:
    settings = {"everyone": {**HEALTHY, "campaigns": 10, "push_latency_s": 0.2}, "accounts": accounts(*TENANTS)}
    async with running_platform(settings) as platform:
        program = Confined(tmp_path, environ_of(*TENANTS))
        program.settings(
            platforms={"mixo": {"base_url": platform.base_url}},
            defaults={"quota": {"requests": 1000, "per": "60s"}, "sync": {"max_attempts": 1}},
        )
        for tenant in TENANTS:
            program.tenant(tenant, credentials={"env": tenant.upper()})
        async with program.daemon() as daemon:
            await daemon.logs("run ended", len(TENANTS), within_s=120)
        runs = await program.runs()
    assert {(run["outcome"], run["pushed"], run["error"]) for run in runs.values()} == {("succeeded", 10, None)}
    [told] = daemon.events("out of resources for connections")
    assert told["cause"].startswith("this process has no file descriptor left; raise LimitNOFILE=")
    log = daemon.log.read_text()
    assert "circuit breaker" not in log
    assert "no connection to" not in log
    assert "Traceback" not in log
