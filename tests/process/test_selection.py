"""Many tenants at once, by the real commands and the real daemon: bulk commands, and the runs of selected tenants."""

import json
from collections import Counter
from typing import Any

import anyio

from adsyncd.clock import SystemClock
from support.platform import Platform
from support.program import Daemon, Program

SHOPS = [f"shop-{number:02}" for number in range(30)]
OTHERS = [f"eu-{number}" for number in range(10)]


async def call(program: Program, *arguments: str, code: int = 0) -> list[str]:
    """Run a command that ends with this exit code, and return its lines."""
    ended = await program.run(*arguments)
    assert ended.returncode == code, (ended.stdout + ended.stderr).decode()
    assert b"Traceback" not in ended.stderr
    return (ended.stdout + ended.stderr).decode().splitlines()


async def outcomes(program: Program, *arguments: str, code: int = 0) -> dict[str, str]:
    """Run a bulk command that ends with this exit code, and return the outcome of each tenant."""
    told: list[dict[str, Any]] = json.loads("".join(await call(program, *arguments, "--json", code=code)))
    return {one["tenant"]: one["outcome"] for one in told}


async def test_one_command_does_what_has_to_be_done_to_many_tenants(program: Program, platform: Platform) -> None:
    await platform.treat(campaigns=2)
    for name in (*SHOPS, *OTHERS):
        program.tenant(name, client_id="acme", credentials={"env": "ACME"})
    program.tenant(
        "slow",
        client_id="globex",
        quota={"requests": 1, "per": "1h"},
        sync={"run_deadline": "1d"},
        credentials={"env": "GLOBEX"},
    )
    program.tenant("off", enabled=False)
    program.tenant("bad", page_sise=3)
    async with program.daemon() as daemon:
        await daemon.logs("run ended", times=40)
        await _pauses_and_resumes(program)
        await _triggers_all(program, platform)
        await _shows_runs_of_some(program, platform, daemon)
    _is_one_line_each(daemon)


async def test_one_command_ends_the_runs_of_many_tenants(program: Program, platform: Platform) -> None:
    await platform.treat(campaigns=60, push_latency_s=2)
    some, others = SHOPS[:3], SHOPS[3:5]
    for name in (*some, *others, "eu"):
        program.tenant(name, client_id="acme", credentials={"env": "ACME"}, sync={"concurrency": 1})
    program.tenant("off", enabled=False)
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        await _all_in_progress(program, 6)
        *lines, total = await call(program, "cancel", "--match", "shop-*", "--dry-run")
        assert lines == [f"{name}: would be cancelled" for name in (*some, *others)]
        assert total == "5 would be cancelled"
        await _all_in_progress(program, 6)

        *lines, total = await call(program, "cancel", *some, "--resumable")
        assert lines == [f"{name}: cancelled" for name in some]
        assert total == "3 cancelled"
        await daemon.logs("run left open", 3)
        assert await outcomes(program, "cancel", "--match", "shop-*", "--dry-run") == {
            **dict.fromkeys(some, "unchanged"),
            **dict.fromkeys(others, "done"),
        }
        assert await call(program, "cancel", "--all", code=3) == [
            "eu: cancelled",
            "off: refused: it is disabled; enable it in its drop-in, and run: adsyncd reload",
            *(f"{name}: unchanged, no run was in progress" for name in some),
            *(f"{name}: cancelled" for name in others),
            "3 cancelled, 3 unchanged, 1 refused",
        ]
        await daemon.logs("run ended", 3)
        assert (await call(program, "cancel", "--match", "eu"))[-1] == "1 unchanged"
        assert (await call(program, "cancel", "--match", "off", code=1))[-1] == "1 refused"
        assert "select tenants: TENANT..." in " ".join(await call(program, "cancel", "--all", "--match", "eu", code=2))
        runs = await program.runs()
        ended = {name: (run["outcome"], run["note"]) for name, run in runs.items()}
        assert ended == {
            **dict.fromkeys(some, (None, None)),
            **dict.fromkeys([*others, "eu"], ("abandoned", "cancelled by an operator")),
        }
        assert all(run["pushed"] + run["failed"] == run["listed"] for run in runs.values() if run["outcome"])
        assert not daemon.events("alert fires")


async def _all_in_progress(program: Program, number: int) -> None:
    """Return once so many tenants have a run in progress."""
    with anyio.fail_after(60):
        while (await program.ask("status"))["daemon"]["tenants"].get("running") != number:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.1)


async def _pauses_and_resumes(program: Program) -> None:
    *lines, total = await call(program, "pause", "--match", "shop-*", "--dry-run")
    assert lines == [f"{name}: would be paused" for name in SHOPS]
    assert total == "30 would be paused"
    *lines, total = await call(program, "pause", "--match", "shop-*")
    assert lines == [f"{name}: paused" for name in SHOPS]
    assert total == "30 paused"
    assert (await program.ask("status"))["daemon"]["counts"]["paused"] == len(SHOPS)
    said = await call(program, "pause", SHOPS[0], OTHERS[0], "eu-99", "off", code=3)
    assert said == [
        f"{SHOPS[0]}: unchanged, it was paused before",
        f"{OTHERS[0]}: paused",
        "eu-99: refused: there is no such tenant; adsyncd status lists all",
        "off: refused: it is disabled; enable it in its drop-in, and run: adsyncd reload",
        "1 paused, 1 unchanged, 2 refused",
    ]
    assert await outcomes(program, "resume", "--paused") == dict.fromkeys([OTHERS[0], *SHOPS], "done")
    for command in ("pause", "status", "alerts"):
        assert await call(program, command, "--match", "shp-*", code=1) == [
            'error: no tenant has an id that matches "shp-*"; adsyncd status lists all'
        ], command
    assert "0 of them are selected" in await call(program, "status", "--late", "--match", "shop-*")
    assert "select tenants: TENANT..." in " ".join(await call(program, "pause", code=2))


async def _triggers_all(program: Program, platform: Platform) -> None:
    await call(program, "pause", OTHERS[1])
    predicted = await outcomes(program, "trigger", "--all", "--dry-run", code=3)
    told = await outcomes(program, "trigger", "--all", code=3)
    assert told == predicted
    assert Counter(told.values()) == {"done": 39, "refused": 4}
    assert {name for name, outcome in told.items() if outcome == "refused"} == {"bad", "off", "slow", OTHERS[1]}
    assert " 1 request, 0 retries, 0 answered 429" in "\n".join(await call(program, "status", "slow"))
    await platform.reach_effects("acme", 2 * (40 + 39))
    assert set(await outcomes(program, "trigger", "off", "bad", code=1)) == {"off", "bad"}


async def _shows_runs_of_some(program: Program, platform: Platform, daemon: Daemon) -> None:
    """Fail the runs of some tenants, and find them by outcome, time, pattern and kind."""
    await platform.treat(campaigns=2, fault="html")
    began = SystemClock().now()
    await call(program, "trigger", *SHOPS[:4])
    with anyio.fail_after(60):
        while sum(one["outcome"] == "failed" for one in daemon.events("run ended")) < 4:  # noqa: ASYNC110 - a file
            await anyio.sleep(0.05)
    failed = ("runs", "--since", began.isoformat(), "--outcome", "failed")
    assert {one["tenant"] for one in await program.ask(*failed, "--match", "shop-0[01]")} == set(SHOPS[:2])
    header, *lines = await call(program, *failed, "--failing")
    assert header.split()[:2] == ["tenant", "due"]
    assert {line.split()[0] for line in lines[:4]} == set(SHOPS[:4])
    [error] = lines[4:]
    assert error.startswith("4 runs of ")
    assert await call(program, "runs", "--until", began.isoformat(), "-o", "failed") == ["no such runs"]


def _is_one_line_each(daemon: Daemon) -> None:
    said = [(one["command"], one["outcome"], one.get("tenants")) for one in daemon.events("command")]
    assert said == [
        ("pause", "done", {"match": "shop-*"}),
        ("pause", "done", {"match": "shop-*"}),
        ("pause", "done", f"{SHOPS[0]}, {OTHERS[0]}, eu-99, off"),
        ("resume", "done", {"state": ["paused"]}),
        ("pause", "refused", {"match": "shp-*"}),
        ("pause", "done", None),
        ("trigger", "done", "all"),
        ("trigger", "done", "all"),
        ("trigger", "refused", "off, bad"),
        ("trigger", "done", ", ".join(SHOPS[:4])),
    ]
    first, second = daemon.events("command")[:2]
    assert (first["dry_run"], first["done"]) == (True, 30)
    assert (second.get("dry_run"), second["done"], second["unchanged"], second["refused"]) == (None, 30, 0, 0)
