from dataclasses import replace
from datetime import datetime, timedelta

import anyio
from structlog.testing import capture_logs

from adsyncd.alerts import Webhook
from adsyncd.errors import CredentialsUnavailable
from adsyncd.model.alert import AlertName
from adsyncd.model.run import Listing
from adsyncd.model.tenant import AlertSettings, Cron, Every
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.facts import Facts
from adsyncd.telemetry.instruments import ALERT, ALERTS, EVENT_FIRES, EVENT_RESOLVED, SPAN_RUN, span
from support.alerts import an_alert
from support.judged import going
from support.records import NOON
from support.spans import Spans
from support.tenants import a_tenant
from support.watched import FAILED, HOOK, MANAGER, PARTIAL, QUARTER, SUCCEEDED, World


async def test_an_alert_fires_once_and_is_resolved_once_in_log_metric_store_and_webhook(world: World) -> None:
    with capture_logs() as log:
        async with world.daemon(HOOK) as watch:
            await world.run(watch, PARTIAL, listed=100, pushed=50, times=6)
            assert world.gauge()["acme", "low_success_rate"] == 1
            assert ("acme", "low_success_rate") in await world.kept()
            await world.run(watch, SUCCEEDED, listed=100, pushed=100, times=3)
            await anyio.sleep(1)
    assert world.gauge()["acme", "low_success_rate"] == 0
    assert await world.kept() == set()
    assert world.hooked().count(("acme", "low_success_rate", "firing")) == 1
    assert world.hooked().count(("acme", "low_success_rate", "resolved")) == 1
    [fires, over] = [entry for entry in log if entry.get("alert") == "low_success_rate"]
    assert (fires["event"], fires["log_level"], fires["tenant"]) == ("alert fires", "warning", "acme")
    assert (fires["severity"], fires["summary"][:9]) == ("warning", "50 of 100")
    assert (over["event"], over["log_level"], over["tenant"]) == ("alert resolved", "info", "acme")


async def test_what_a_run_changes_is_an_event_of_its_span(world: World) -> None:
    spans = Spans()
    async with world.daemon() as watch:
        for outcome in (FAILED, FAILED, FAILED, FAILED, SUCCEEDED):
            with span(spans.tracer, SPAN_RUN):
                await world.run(watch, outcome)
    events = [[(event.name, dict(event.attributes or {})) for event in run.events] for run in spans.named(SPAN_RUN)]
    alert = {ALERT: "runs_failing"}
    assert events == [[], [], [(EVENT_FIRES, alert)], [], [(EVENT_RESOLVED, alert)]]


async def test_a_restart_neither_forgets_runs_nor_fires_again(world: World) -> None:
    for failures in (2, 1, 1):
        async with world.daemon(HOOK) as watch:
            await world.run(watch, FAILED, times=failures)
            await anyio.sleep(1)
    assert world.hooked() == [("acme", "runs_failing", "firing")]
    async with world.daemon(HOOK) as watch:
        assert world.gauge() == {("acme", "runs_failing"): 1}
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(1)
    assert world.hooked() == [("acme", "runs_failing", "firing"), ("acme", "runs_failing", "resolved")]


async def test_failed_runs_of_an_earlier_account_are_none_in_a_row(world: World) -> None:
    async with world.daemon() as watch:
        await world.run(watch, FAILED, times=2, account_hash="then")
        await world.run(watch, FAILED, times=2, account_hash="now")
        assert await world.kept() == set()
        await world.run(watch, FAILED, account_hash="now")
        assert world.gauge() == {("acme", "runs_failing"): 1}


async def test_what_a_receiver_did_not_hear_before_a_restart_it_hears_after(world: World) -> None:
    world.receivers.status = 500
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED, times=3)
    world.receivers.status = 200
    async with world.daemon(HOOK):
        await anyio.sleep(1)
    assert world.hooked() == [("acme", "runs_failing", "firing")]

    world.receivers.status = 500
    async with world.daemon(HOOK) as watch:
        await world.run(watch, SUCCEEDED)
    assert await world.kept() == {("acme", "runs_failing")}
    world.receivers.status = 200
    async with world.daemon(HOOK):
        await anyio.sleep(1)
    assert world.hooked() == [("acme", "runs_failing", "firing"), ("acme", "runs_failing", "resolved")]
    assert await world.kept() == set()


async def test_without_a_webhook_nothing_is_kept_for_it(world: World) -> None:
    await world.store.keep_alert(replace(an_alert(), resolved_at=world.clock.now()))
    async with world.daemon(MANAGER) as watch:
        assert await world.kept() == set()
        await world.run(watch, FAILED, times=3)
        assert await world.kept() == {("acme", "runs_failing")}
        await world.run(watch, SUCCEEDED)
    assert await world.kept() == set()


async def test_alertmanager_hears_every_minute_until_it_is_over(world: World) -> None:
    async with world.daemon(MANAGER) as watch:
        await world.run(watch, FAILED, times=3)
        await anyio.sleep(0.1)
        heard = len(world.receivers.posted)
        await anyio.sleep(600)
        assert len(world.receivers.posted) == heard + 10
        assert world.receivers.firing(world.clock.now()) == {("acme", "runs_failing")}
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(0.1)
        assert world.receivers.firing(world.clock.now()) == set()
        heard = len(world.receivers.posted)
        await anyio.sleep(600)
        assert len(world.receivers.posted) == heard


async def test_alertmanager_hears_once_that_an_alert_is_over_though_a_webhook_has_not(world: World) -> None:
    async with world.daemon(Webhook("http://receiver.invalid/nowhere"), MANAGER) as watch:
        await world.run(watch, FAILED, times=3)
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(1)
        heard = len(world.receivers.posted)
        assert world.receivers.firing(world.clock.now()) == set()
        await anyio.sleep(600)
        assert len(world.receivers.posted) == heard
    assert await world.kept() == {("acme", "runs_failing")}


async def test_news_that_comes_while_the_webhook_is_told_the_old_state_is_not_forgotten(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED, times=2)
        world.receivers.hanging = True
        await world.run(watch, FAILED)
        await world.run(watch, SUCCEEDED, after=timedelta(seconds=5))
        world.receivers.hanging = False
        world.receivers.release()
        await anyio.sleep(1)
    assert world.hooked() == [("acme", "runs_failing", "resolved")]
    assert await world.kept() == set()


async def test_what_was_told_of_an_old_state_does_not_bring_that_back(world: World) -> None:
    world.receivers.status = 500
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED, times=3)
        [old] = watch._alerts.values()
        await world.run(watch, SUCCEEDED)
        await watch._told([old])
        [kept] = await world.store.alerts()
        assert (kept.fires, kept.told) == (False, False)


async def test_alertmanager_keeps_an_alert_over_a_restart_and_over_lost_repetitions(world: World) -> None:
    async with world.daemon(MANAGER) as watch:
        await world.run(watch, FAILED, times=3)
    started_at = {alert["startsAt"] for alert in world.receivers.posted}
    await anyio.sleep(120)
    async with world.daemon(MANAGER):
        assert world.receivers.firing(world.clock.now()) == {("acme", "runs_failing")}
        await anyio.sleep(1)
        world.receivers.status = 503
        await anyio.sleep(180)
        assert world.receivers.firing(world.clock.now()) == {("acme", "runs_failing")}
    assert {alert["startsAt"] for alert in world.receivers.posted} == started_at


async def test_an_alert_of_a_tenant_that_is_gone_is_resolved(world: World) -> None:
    await world.store.keep_alert(replace(an_alert("gone", since=world.clock.now()), told=True))
    async with world.daemon(HOOK):
        await anyio.sleep(1)
    assert world.hooked() == [("gone", "runs_failing", "resolved")]


async def test_the_metric_tells_the_severity_of_an_alert(world: World) -> None:
    async with world.daemon() as watch:
        await world.run(watch, FAILED, times=3)
        await world.run(watch, PARTIAL, listed=20, pushed=1, failed=19)
    severities = {
        (point["attributes"][ALERT], point["attributes"]["adsyncd.severity"]): point["value"]
        for point in world.metrics.points(ALERTS.name)
    }
    assert severities == {("runs_failing", "critical"): 0, ("low_success_rate", "warning"): 1}


async def test_a_tenant_that_is_removed_neither_rings_nor_goes_on_to(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED, times=3)
        assert world.gauge() == {("acme", "runs_failing"): 1}
        watch.remove("acme")
        await world.run(watch, FAILED, after=timedelta(days=1))
        await anyio.sleep(60)
        assert world.metrics.points(ALERTS.name) == []
    assert world.hooked() == [("acme", "runs_failing", "firing"), ("acme", "runs_failing", "resolved")]


async def test_a_tenant_that_changes_is_judged_by_what_it_says_from_then_on(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED)
        watch.change(a_tenant(alerts=AlertSettings(min_success_rate=0.9, failures=2)))
        await world.run(watch, FAILED)
        assert world.hooked() == [("acme", "runs_failing", "firing")]


async def test_a_tenant_that_is_not_watched_over_is_not_judged(world: World) -> None:
    async with world.daemon(HOOK, tenants=()) as watch:
        await world.run(watch, FAILED, times=5)
    assert world.hooked() == []
    assert await world.kept() == set()


async def test_tenants_ring_for_themselves(world: World) -> None:
    async with world.daemon(HOOK, tenants=("acme", "globex")) as watch:
        for _ in range(3):
            await world.run(watch, FAILED, "globex")
            await world.run(watch, SUCCEEDED, "acme")
        await anyio.sleep(1)
    assert [(tenant, status) for tenant, alert, status in world.hooked() if alert == "runs_failing"] == [
        ("globex", "firing")
    ]


async def test_a_store_that_is_gone_costs_no_run_and_no_alert(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, FAILED, times=2)
        [last, *_] = await world.store.runs("acme", 1)
        world.disk.gone = True
        with capture_logs() as log:
            await watch.ended(last, None)
        assert [(entry["event"], entry["log_level"]) for entry in log] == [("alerts not judged", "warning")]
        await anyio.sleep(7200)  # no run gets through: that needs no store to be noticed
        assert world.hooked() == [("acme", "no_success", "firing")]
        world.disk.gone = False
        await anyio.sleep(31)
        assert await world.kept() == {("acme", "no_success")}


async def test_of_two_saves_of_an_alert_that_fail_together_the_later_state_is_kept(world: World) -> None:
    async with world.daemon() as watch:
        world.disk.takes_s, world.disk.gone = 1, True
        async with anyio.create_task_group() as saves:
            for wrong in ("3 runs failed", None):
                watch._apply("acme", {AlertName.RUNS_FAILING: wrong})
                saves.start_soon(watch._save)
                await anyio.sleep(0.1)
        world.disk.gone = False
        await watch._save()
        assert await world.kept() == set()


async def test_a_receiver_that_hangs_costs_a_run_nothing(world: World) -> None:
    world.receivers.hanging = True
    async with world.daemon(HOOK, MANAGER) as watch:
        for _ in range(3):
            before = anyio.current_time()
            await world.run(watch, FAILED)
            assert anyio.current_time() == before + QUARTER.total_seconds()


async def test_a_clock_that_is_set_back_makes_no_alert_that_ends_before_it_began(world: World) -> None:
    async with world.daemon(HOOK, MANAGER) as watch:
        await world.run(watch, FAILED, times=3)
        world.clock.jump(timedelta(minutes=-20))
        await world.run(watch, SUCCEEDED)
        world.clock.jump(timedelta(hours=-1))
        await anyio.sleep(120)
    [over] = [alert for alert in world.receivers.hooked if alert["status"] == "resolved"]
    assert over["alert"] == "runs_failing"
    assert datetime.fromisoformat(over["resolved_at"]) >= datetime.fromisoformat(over["since"])


async def test_each_name_can_fire_and_be_resolved(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        for letters in range(1, 5):
            await world.run(watch, PARTIAL, listed=20, pushed=1, dead_lettered=letters, listing=Listing.COLLAPSED)
        await world.run(watch, FAILED, times=3, skipped_ticks=1)
        [last, *_] = await world.store.runs("acme", 1)
        await watch.ended(last, CredentialsUnavailable("Vault is sealed"))
        await anyio.sleep(60)
        [sign_in] = [alert for alert in world.receivers.hooked if alert["alert"] == "sign_in_failing"]
        assert "Vault is sealed" in sign_in["summary"]
        fired = {alert for _, alert, status in world.hooked() if status == "firing"}
        assert fired == set(AlertName) - {AlertName.DEAD_LETTERS_AGEING}
        await world.run(watch, SUCCEEDED, listed=20, pushed=20, listing=Listing.COMPLETE)
        await anyio.sleep(1)
        assert {alert for _, alert, status in world.hooked() if status == "resolved"} == fired


async def test_a_tick_that_a_run_in_progress_skips_rings_at_once_and_is_kept_soon(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        for ticks, rings in [(2, []), (3, [("acme", "late", "firing")]), (4, [("acme", "late", "firing")])]:
            progress = going(ticks, {WaitReason.QUOTA: 5000})
            watch.skipped(Facts("acme", NOON + timedelta(hours=2), a_tenant(), progress=progress))
            await anyio.sleep(1)
            assert world.hooked() == rings
        watch.skipped(Facts("unknown", NOON, a_tenant(id="unknown"), progress=going(9, {})))
        await anyio.sleep(31)
        assert await world.kept() == {("acme", "late")}
        await world.run(watch, SUCCEEDED, skipped_ticks=4)
        await world.run(watch, SUCCEEDED, skipped_ticks=1)
        assert len(world.hooked()) == 1
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(1)
        assert world.hooked()[1:] == [("acme", "late", "resolved")]


async def test_a_tenant_without_a_run_that_gets_through_rings_by_the_clock_alone(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, SUCCEEDED)
        begun = world.clock.now()
        while not world.hooked():  # noqa: ASYNC110 - on a virtual clock
            await anyio.sleep(1)
        assert world.hooked() == [("acme", "no_success", "firing")]
        assert 4 * QUARTER <= world.clock.now() - begun <= 4 * QUARTER + timedelta(seconds=31)
        await anyio.sleep(6 * 3600)
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing"), ("acme", "no_success", "resolved")]


async def test_runs_of_another_process_that_get_through_keep_it_quiet_and_end_it(world: World) -> None:
    async with world.daemon(HOOK):
        await world.run(None, SUCCEEDED, times=20)
        assert world.hooked() == []
        await anyio.sleep(6 * 3600)
        assert world.hooked() == [("acme", "no_success", "firing")]
        await world.run(None, SUCCEEDED)
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing"), ("acme", "no_success", "resolved")]


async def test_after_a_start_a_tenant_has_its_intervals_and_the_time_of_a_run_to_get_through(world: World) -> None:
    async with world.daemon(HOOK):
        await anyio.sleep((4 * QUARTER + a_tenant().sync.run_deadline).total_seconds() - 1)
        assert world.hooked() == []
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing")]


async def test_a_tenant_whose_runs_outlast_its_intervals_does_not_ring_as_long_as_they_succeed(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, SUCCEEDED, after=timedelta(minutes=80), took=timedelta(minutes=70), times=5)
    assert world.hooked() == []


async def test_a_tenant_that_is_due_no_more_does_not_ring(world: World) -> None:
    async with world.daemon(HOOK, tenants=()) as watch:
        watch.add(a_tenant(schedule=Cron("0 0 31 2 *", "UTC")))
        await anyio.sleep(86400)
    assert world.hooked() == []


async def test_another_schedule_gives_a_tenant_new_time_and_another_page_size_does_not(world: World) -> None:
    slow = a_tenant(schedule=Every(timedelta(days=1)))
    async with world.daemon(HOOK, tenants=()) as watch:
        watch.add(slow)
        await anyio.sleep(86400)
        watch.change(a_tenant())
        for number in range(1, 80):
            await anyio.sleep(60)
            assert world.hooked() == []
            watch.change(a_tenant(page_size=number))
        await anyio.sleep(20 * 60)
    assert world.hooked() == [("acme", "no_success", "firing")]
