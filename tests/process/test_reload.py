"""The real daemon takes up what changes in its files while runs go on."""

import re
import signal
from typing import Any

import anyio
import pytest

from support.platform import Platform
from support.program import AMPLE, Daemon, Program

TENANTS = ("acme", "globex", "initech")
CAMPAIGNS = 12


@pytest.fixture
async def platform(platform: Platform) -> Platform:
    """A platform on which a run takes some seconds."""
    await platform.treat(push_latency_s=1)
    return platform


@pytest.fixture
def program(program: Program, platform: Platform) -> Program:
    configure(program, platform)
    return program


def configure(program: Program, platform: Platform, **settings: object) -> None:
    program.settings(platform.base_url, defaults={**AMPLE, "sync": {"concurrency": 3}}, **settings)


async def reload(daemon: Daemon) -> dict[str, Any]:
    """Ask for a reload by SIGHUP, and return what is logged of it."""
    before = len(daemon.events("reloaded"))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logs("reloaded", before + 1)
    return daemon.events("reloaded")[before]


def counts(event: dict[str, Any]) -> dict[str, int]:
    return {key: event[key] for key in ("added", "removed", "changed", "unchanged", "refused") if event[key]}


async def test_a_hangup_takes_up_what_is_good_keeps_what_was_good_and_disturbs_no_run(
    program: Program, platform: Platform
) -> None:
    program.tenant("acme")
    async with program.daemon() as daemon:
        await platform.reach_effects("acme", 1)
        program.tenant("globex")
        assert counts(await reload(daemon)) == {"added": 1, "unchanged": 1}
        await platform.reach_effects("globex", 1)
        bad = program.folder / "tenants.d" / "globex.toml"
        good = bad.read_text()
        bad.write_text(good + "nonsense")
        assert counts(await reload(daemon)) == {"unchanged": 2, "refused": 1}
        [refusal] = daemon.events("drop-in refused")
        assert (refusal["tenant"], refusal["goes_on"]) == ("globex", True)
        assert refusal["problem"].startswith(f"{bad}:5: ")
        assert counts(await reload(daemon)) == {"unchanged": 2, "refused": 1}
        assert len(daemon.events("drop-in refused")) == 1
        bad.write_text(good + "enabled = false")
        assert counts(await reload(daemon)) == {"removed": 1, "unchanged": 1}
        await daemon.logs("drop-in no longer refused")
        await daemon.logs("run ended", 2)
    ended = {run["tenant"]: (run["outcome"], run["pushed"]) for run in daemon.events("run ended")}
    assert ended == dict.fromkeys(["acme", "globex"], ("succeeded", CAMPAIGNS))
    assert (await platform.ledger("acme"))["effects_total"] == CAMPAIGNS
    assert "Traceback" not in daemon.log.read_text()


async def test_check_and_reload_say_what_a_change_of_quota_costs(program: Program, platform: Platform) -> None:
    program.tenant("acme", quota={"requests": 1000, "per": "1m"})
    async with program.daemon() as daemon:
        await platform.reach_effects("acme", CAMPAIGNS)
        await daemon.logs("run ended")
        checked = await program.run("check")
        assert b"quota changed" not in checked.stderr
        program.tenant("acme", quota={"requests": 1000, "per": "2h"})
        checked = await program.run("check")
        assert (checked.returncode, b"acme: quota changed; no request before " in checked.stderr) == (0, True)
        reloaded = await program.run("reload")
        assert b"acme: quota changed; no request before " in reloaded.stdout
        [warning] = daemon.events("quota changed: no requests for a while")
        assert (warning["tenant"], warning["lasts_s"] // 100) == ("acme", 71)
        program.tenant("acme", quota={"requests": 1000, "per": "1m"})
        assert (await program.ask("reload"))["silent"] == []


async def test_settings_that_are_broken_keep_the_old_ones(program: Program, platform: Platform) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        whole = program.config.read_text()
        program.config.write_text(whole + "[platforms]\n")
        program.tenant("acme")
        assert counts(await reload(daemon)) == {"added": 1, "refused": 1}
        assert daemon.events("settings refused")
        program.config.write_text(whole.replace("adsyncd.db", "other.db"))
        assert counts(await reload(daemon)) == {"unchanged": 1}
        [warning] = daemon.events("settings changed that need a restart")
        assert warning["keys"] == ["store"]
        await platform.reach_effects("acme", 1)
    assert not (program.folder / "other.db").exists()


async def test_a_file_that_others_may_change_is_refused_by_daemon_and_check_alike(program: Program) -> None:
    program.tenant("acme")
    program.tenant("globex")
    path = program.folder / "tenants.d" / "globex.toml"
    path.chmod(0o666)
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        [refusal] = daemon.events("drop-in refused")
        [problem] = [one for one in await program.ask("check", code=1) if one["severity"] == "error"]
        assert problem["fix"] == f"chmod go-w {path}"
        assert refusal["problem"].endswith(problem["fix"])
        path.chmod(0o644)
        assert counts(await reload(daemon)) == {"added": 1, "unchanged": 1}


async def test_with_watch_nobody_needs_to_ask(program: Program, platform: Platform) -> None:
    configure(program, platform, watch=True)
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        program.tenant("acme")
        await platform.reach_effects("acme", 1)
        program.tenant("globex")
        await platform.reach_effects("globex", 1)
        (program.folder / "tenants.d" / "acme.toml").unlink()
        await daemon.logs("run ended", 2)
        configure(program, platform, watch=True, shutdown_grace="1s")
        program.tenant("acme", schedule={"every": "1s"})
        await platform.reach_effects("acme", 2 * CAMPAIGNS)
    assert [event["grace_s"] for event in daemon.events("stopping")] == [1.0]
    assert "Traceback" not in daemon.log.read_text()


async def test_a_hangup_on_the_way_out_changes_nothing(program: Program, platform: Platform) -> None:
    program.tenant("acme")
    async with program.started() as daemon:
        await platform.reach_effects("acme", 1)
        daemon.process.send_signal(signal.SIGTERM)
        await daemon.logs("stopping")
        daemon.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(20):
            assert await daemon.process.wait() == 0
    assert daemon.events("stopped")


async def test_a_changed_client_id_is_not_mixed_with_the_run_in_progress_nor_with_earlier_runs(
    program: Program, platform: Platform
) -> None:
    small, ample = {"requests": 5, "per": "1h"}, {"requests": 900, "per": "1m"}
    program.tenant("acme", quota=small, sync={"run_deadline": "1d"})
    async with program.daemon() as daemon:
        await platform.reach_effects("acme", 3)  # two pages take the other permits
        program.tenant("acme", client_id="globex", credentials={"env": "GLOBEX"}, quota=ample)
        assert counts(await reload(daemon)) == {"changed": 1}
        during = await program.ask("status", "acme")
        assert (during["client_id"], during["next_client_id"]) == ("acme", "globex")
        assert (during["permits"], during["permits_free"], during["run"]["announced"]) == (5, 0, CAMPAIGNS)
        assert b"acme at mixo; globex from the next run on" in (await program.run("status", "acme")).stdout
        await program.ask("cancel", "acme")
        await daemon.logs("run ended")
        after = await program.ask("status", "acme")
        assert (after["client_id"], after["next_client_id"]) == ("globex", None)
        assert (after["permits"], after["permits_free"]) == (900, 900)
        await platform.treat(fault="503")
        program.tenant("acme", client_id="globex", credentials={"env": "GLOBEX"}, quota=ample, sync={"max_attempts": 1})
        await reload(daemon)
        await program.ask("trigger", "acme")
        await daemon.logs("run ended", 2)
        failed = await program.ask("status", "acme")
        assert failed["error"]
        assert failed["verdict"]["trouble"] == "failing"
        program.tenant("acme", client_id="initech", credentials={"env": "INITECH"}, quota=ample)
        await reload(daemon)
        changed = await program.ask("status", "acme")
        assert (changed["client_id"], changed["last_run"]["outcome"]) == ("initech", "failed")
        assert (changed["error"], changed["verdict"]) == (None, None)
        assert not (await program.ask("status"))["tenants"][0]["error"]


async def test_permits_that_are_out_beyond_a_lowered_quota_are_said_in_words_and_are_a_negative_number_in_json(
    program: Program,
) -> None:
    program.tenant("acme", quota={"requests": 20, "per": "1h"})
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        before = await program.ask("status", "acme")
        used = before["permits"] - before["permits_free"]
        assert used > CAMPAIGNS
        program.tenant("acme", quota={"requests": 5, "per": "1h"})
        assert counts(await reload(daemon)) == {"changed": 1}
        after = await program.ask("status", "acme")
        assert (after["permits"], after["permits_free"]) == (5, 5 - used)
        [listed] = (await program.ask("status"))["tenants"]
        assert listed["permits_free"] == 5 - used
        said = (await program.run("status", "acme")).stdout.decode()
        assert f"0 of 5 are free; {used - 5} more are out than the quota allows, shape " in said
        program.environ["COLUMNS"] = "200"  # so wide that the table shows permits
        for command, free in (("status", "0/5"), ("status acme", "0 of 5 are free"), ("plan acme", "")):
            shown = (await program.run(*command.split())).stdout.decode()
            assert free in shown, command
            assert not re.search(r"-\d+(/| of )", shown), command
