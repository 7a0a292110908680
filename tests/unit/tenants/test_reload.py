from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from signal import SIGHUP, Signals
from threading import Event

import anyio
import pytest
import trustme

from adsyncd.errors import StoreError
from adsyncd.model.tenant import Every
from adsyncd.tenants import reload
from support.installation import ACME, GLOBEX, Installation, Logs, told


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # files are read in threads


# What changes


async def test_a_reload_says_who_came_went_changed_and_did_not(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    installed.write("tenants.d/globex.toml", GLOBEX)
    installed.write("tenants.d/hooli.toml", ACME + "enabled = false")
    first = await installed.reloader.reload()
    assert (first.added, first.due) == (("acme", "globex"), 2)
    assert [tenant.id for tenant in installed.reloader.disabled] == ["hooli"]
    installed.write("tenants.d/acme.toml", ACME + "sync.page_size = 5")
    installed.write("tenants.d/initech.toml", ACME + "sync.page_size = 5")
    second = await installed.reloader.reload()
    assert (second.added, second.changed, second.unchanged) == (("initech",), ("acme",), ("globex",))
    (installed.tenants / "acme.toml").unlink()
    installed.write("tenants.d/initech.toml", ACME + "enabled = false")
    third = await installed.reloader.reload()
    assert (third.removed, third.unchanged, third.refused) == (("acme", "initech"), ("globex",), ())
    assert list(installed.registry.tenants) == ["globex"]


async def test_nothing_is_done_where_nothing_has_changed(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    for part in (installed.supervisor, installed.ticks, installed.store):
        part.reset_mock()
    assert (await installed.reloader.reload()).unchanged == ("acme",)
    assert installed.supervisor.mock_calls == installed.ticks.mock_calls == installed.store.mock_calls == []


async def test_defaults_platforms_and_directories_are_read_again_with_the_drop_ins(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    installed.configure('defaults.schedule.every = "1h"')
    assert (await installed.reloader.reload()).changed == ("acme",)
    assert installed.registry.tenants["acme"].schedule == Every(timedelta(hours=1))
    installed.configure('platforms.other.base_url = "https://other"\nshutdown_grace = "7s"')
    installed.write("tenants.d/globex.toml", GLOBEX.replace("mixo", "other"))
    assert (await installed.reloader.reload()).added == ("globex",)
    assert installed.reloader.settings.shutdown_grace == timedelta(seconds=7)
    (installed.folder / "others.d").mkdir()
    config = installed.folder / "adsyncd.toml"
    config.write_text(config.read_text().replace("tenants.d", "others.d"))
    assert (await installed.reloader.reload()).removed == ("acme", "globex")


async def test_another_proxy_and_another_content_of_the_authorities_file_are_taken_up(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    pem = installed.write("ca.pem", trustme.CA().cert_pem.bytes().decode())
    await installed.reloader.reload()
    installed.configure(f'platforms.mixo.ca_file = "{pem}"')
    assert (await installed.reloader.reload()).changed == ("acme",)
    installed.configure(f'platforms.mixo.ca_file = "{pem}"\nplatforms.mixo.proxy = "http://p:1"')
    assert (await installed.reloader.reload()).changed == ("acme",)
    installed.write("ca.pem", trustme.CA().cert_pem.bytes().decode())
    assert (await installed.reloader.reload()).changed == ("acme",)
    installed.write("ca.pem", "half written")
    report = await installed.reloader.reload()
    assert (report.changed, report.unchanged) == ((), ("acme",))
    assert "holds no certificates in PEM" in str(report.refused[0].problems[0])


async def test_other_settings_wait_for_a_restart_and_it_is_said_once_which(
    installed: Installation, logged: Logs
) -> None:
    installed.write("tenants.d/acme.toml", ACME.replace("env", "vault"))
    await installed.reloader.reload()
    vault = 'vault = { address = "https://vault", auth = { method = "token", token = { env = "T" } } }'
    page = 'page = { socket = "/page.sock", hosts = ["ads.example.com"] }'
    installed.configure(f'{vault}\n{page}\ncontrol.socket = "/elsewhere"')
    for _ in range(2):
        report = await installed.reloader.reload()
        assert [refusal.tenant for refusal in report.refused] == ["acme"]  # there is no Vault yet
    said = [entry["keys"] for entry in logged if entry["event"] == "settings changed that need a restart"]
    assert said == [["vault", "control", "page.socket"]]
    settings = installed.reloader.settings
    assert (settings.vault, settings.page.socket, settings.page.hosts) == (None, None, ("ads.example.com",))


@pytest.mark.parametrize("line", ["watch = true", 'tenants_dirs = ["/elsewhere"]'])
async def test_who_looks_for_changes_hears_when_that_is_to_be_done_elsewhere(
    installed: Installation, line: str
) -> None:
    await installed.reloader.reload()
    assert not installed.reloader.elsewhere.is_set()
    config = installed.folder / "adsyncd.toml"
    kept = [one for one in config.read_text().splitlines() if one[:7] != line[:7]]
    config.write_text("\n".join([line, *kept]))
    await installed.reloader.reload()
    assert installed.reloader.elsewhere.is_set()


# One at a time


async def test_reloads_take_turns_and_all_that_are_asked_for_meanwhile_are_one(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    entered, leave = Event(), Event()

    def stand_still() -> None:
        entered.set()
        assert leave.wait(20)

    installed.before_loading = [stand_still]
    loads, reports = installed.loads, []

    async def ask() -> None:
        reports.append(await installed.reloader.reload())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.to_thread.run_sync(entered.wait)
        (installed.tenants / "acme.toml").unlink()
        for _ in range(5):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        leave.set()
    assert installed.loads - loads == 2
    assert len(reports) == 6
    assert all(report is reports[1] for report in reports[1:])  # not what the first one may have missed
    assert "acme" in reports[0].removed + reports[1].removed


async def test_a_database_in_trouble_fails_who_asked_and_serves_the_next(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    installed.store.open_runs.side_effect = StoreError("the disk is gone")
    with pytest.raises(StoreError, match="the disk is gone"):
        await installed.reloader.reload()
    installed.store.open_runs.side_effect = None
    assert (await installed.reloader.reload()).added == ("acme",)


async def test_who_can_wait_has_it_tried_again(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, logged: Logs
) -> None:
    monkeypatch.setattr(reload, "_AGAIN_S", 0)
    installed.write("tenants.d/acme.toml", ACME)
    installed.store.open_runs.side_effect = [StoreError("gone"), StoreError("gone"), []]
    await installed.reloader.reload_until_done()
    assert list(installed.registry.tenants) == ["acme"]
    assert [entry["event"] for entry in logged].count("reload failed, retrying") == 2


async def test_a_mistake_of_ours_costs_a_reload_and_nothing_else(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, logged: Logs
) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    with monkeypatch.context() as patch:
        patch.setattr(reload, "diff", None)
        await installed.reloader.reload_until_done()
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["reload broke down"]
    await installed.reloader.reload_until_done()
    assert list(installed.registry.tenants) == ["acme"]


async def test_each_hangup_is_a_reload(installed: Installation) -> None:
    async def hangups() -> AsyncIterator[Signals]:
        for name in ("acme", "globex"):
            installed.write(f"tenants.d/{name}.toml", ACME)
            yield SIGHUP
            with anyio.fail_after(20):
                while name not in installed.registry.tenants:  # noqa: ASYNC110 - nobody says so
                    await anyio.sleep(0.01)

    await installed.reloader.obey(hangups())
    assert list(installed.registry.tenants) == ["acme", "globex"]


# What is told


async def test_the_service_manager_is_told_of_each_reload_but_the_start(installed: Installation) -> None:
    await installed.reloader.reload()
    assert installed.told == []
    await installed.reloader.reload()
    assert installed.told == ["begins", "ends"]


async def test_a_reload_is_logged_with_its_numbers_unless_nobody_asked_and_nothing_changed(
    installed: Installation, logged: Logs
) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    await installed.reloader.reload(patient=True)
    await installed.reloader.reload()
    installed.write("tenants.d/globex.toml", GLOBEX)
    await installed.reloader.reload(patient=True)
    entries = [entry for entry in logged if entry["event"] == "reloaded"]
    numbers = [(entry["log_level"], entry["added"], entry["unchanged"]) for entry in entries]
    assert numbers == [("debug", 1, 0), ("debug", 0, 1), ("info", 0, 1), ("info", 1, 1)]


# What is wrong


async def test_a_reload_keeps_the_last_good_tenant_when_a_file_is_invalid(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    installed.write("tenants.d/globex.toml", "nonsense")
    first = await installed.reloader.reload()
    [refusal] = first.refused
    assert (refusal.tenant, refusal.goes_on) == ("globex", False)
    good = installed.registry.tenants["acme"]
    installed.write("tenants.d/acme.toml", "nonsense")
    second = await installed.reloader.reload()
    assert [(one.tenant, one.goes_on) for one in second.refused] == [("acme", True), ("globex", False)]
    assert second.unchanged == ("acme",)
    assert installed.registry.tenants["acme"] is good
    assert installed.reloader.refused == second.refused
    assert [problem.line for problem in installed.reloader.problems] == [1, 1]
    assert installed.refused() == 2


async def test_what_is_wrong_is_logged_once_again_when_it_is_another_thing_and_when_it_is_over(
    installed: Installation, logged: Logs
) -> None:
    async def become(text: str) -> None:
        installed.write("tenants.d/acme.toml", text)
        for _ in range(2):
            await installed.reloader.reload()

    await become(ACME)
    await become(ACME + "nonsense")
    await become(ACME + "sync.page_size = 0")
    await become(ACME + "sync.page_size = 0\nsync.concurrency = 0")
    lines = [(tenant, problem.split(":", 2)[1]) for tenant, problem in told(logged, "drop-in refused")]
    assert lines == [("acme", "4"), ("acme", "4"), ("acme", "5")]
    assert told(logged, "drop-in no longer refused") == []
    assert installed.refused() == 1
    await become(ACME)
    assert [tenant for tenant, _ in told(logged, "drop-in no longer refused")] == ["acme"]
    assert installed.refused() == 0


async def test_a_directory_that_cannot_be_trusted_leaves_all_as_they_are(installed: Installation, logged: Logs) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    installed.write("tenants.d/acme.toml", ACME + "enabled = false")
    installed.tenants.chmod(0o777)
    report = await installed.reloader.reload()
    assert (report.unchanged, report.removed) == (("acme",), ())
    [refusal] = report.refused
    assert (refusal.tenant, refusal.goes_on) == (None, True)
    assert told(logged, "drop-in refused") == [(None, str(refusal.problems[0]))]
    installed.tenants.chmod(0o755)
    assert (await installed.reloader.reload()).removed == ("acme",)


async def test_broken_settings_keep_the_old_ones_and_the_drop_ins_are_taken_up(
    installed: Installation, logged: Logs
) -> None:
    installed.configure('defaults.schedule.every = "1h"')
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    path = installed.write("adsyncd.toml", "tenants_dirs = 5")
    installed.write("tenants.d/globex.toml", GLOBEX)
    report = await installed.reloader.reload()
    assert (report.added, report.unchanged) == (("globex",), ("acme",))
    assert installed.registry.tenants["globex"].schedule == Every(timedelta(hours=1))
    [(nobody, problem)] = told(logged, "settings refused")
    assert nobody is None
    assert problem.startswith(f"{path}:1: tenants_dirs: ")
    assert [(refusal.tenant, refusal.goes_on) for refusal in report.refused] == [(None, True)]


# Files that are being written


def half_written(installed: Installation, monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Let a file hold the first of `texts`, and the others each a reading later."""
    monkeypatch.setattr(reload, "_SETTLES_S", 0)
    path = installed.write("tenants.d/acme.toml", texts[0])
    installed.before_loading = [int, *(partial(path.write_text, text) for text in texts[1:])]


@pytest.mark.parametrize("first", ["", ACME[:-9]])
async def test_a_file_that_is_being_written_is_read_again_when_it_may_be_done(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, logged: Logs, first: str
) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    half_written(installed, monkeypatch, first, ACME)
    report = await installed.reloader.reload(patient=True)
    assert (report.unchanged, report.refused) == (("acme",), ())
    assert told(logged, "drop-in refused") == []


@pytest.mark.parametrize("patient", [True, False])
async def test_a_file_that_is_still_wrong_is_refused_and_an_operator_waits_for_no_writer(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, *, patient: bool
) -> None:
    half_written(installed, monkeypatch, "nonsense", *["nonsense"] * patient, ACME)
    report = await installed.reloader.reload(patient=patient)
    assert [refusal.tenant for refusal in report.refused] == ["acme"]


async def test_settings_that_are_being_written_are_read_again_too(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, logged: Logs
) -> None:
    monkeypatch.setattr(reload, "_SETTLES_S", 0)
    whole = (installed.folder / "adsyncd.toml").read_text()
    installed.write("adsyncd.toml", whole[:9])
    installed.before_loading = [int, partial(installed.write, "adsyncd.toml", whole)]
    assert (await installed.reloader.reload(patient=True)).refused == ()
    assert told(logged, "settings refused") == []


# Drop-ins that are gone


async def forgotten(installed: Installation, *, after: timedelta) -> list[str]:
    """Return whose pauses are forgotten when a reload and that much time have passed."""
    await installed.reloader.reload()
    installed.clock.ahead_s += after.total_seconds()
    installed.store.resume.reset_mock()
    with anyio.move_on_after(0.1):
        await installed.reloader.forget_gone()
    return [call.args[0] for call in installed.store.resume.await_args_list]


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "_LOOK_S", 0.01)


@pytest.mark.usefixtures("looking")
async def test_the_pause_of_a_tenant_is_forgotten_when_its_drop_in_has_been_gone_for_a_day(
    installed: Installation,
) -> None:
    almost, rest = timedelta(hours=23), timedelta(hours=1)
    for name in ("acme", "globex", "hooli", "initech"):
        installed.write(f"tenants.d/{name}.toml", ACME)
    assert await forgotten(installed, after=2 * almost) == []
    installed.write("tenants.d/globex.toml", "nonsense")
    installed.write("tenants.d/hooli.toml", ACME + "enabled = false")
    for name in ("acme", "initech"):
        (installed.tenants / f"{name}.toml").unlink()
    assert await forgotten(installed, after=almost) == []
    installed.write("tenants.d/initech.toml", "nonsense")  # it comes back, though not yet right
    installed.store.resume.side_effect = StoreError("the disk is gone")
    assert set(await forgotten(installed, after=rest)) == {"acme"}
    installed.store.resume.side_effect = None
    assert await forgotten(installed, after=rest) == ["acme"]
    assert await forgotten(installed, after=2 * almost) == []  # once


@pytest.mark.usefixtures("looking")
async def test_a_directory_that_cannot_be_read_makes_no_tenant_gone(installed: Installation) -> None:
    installed.write("tenants.d/acme.toml", ACME)
    await installed.reloader.reload()
    installed.tenants.chmod(0o777)
    assert await forgotten(installed, after=timedelta(days=2)) == []
    (installed.tenants / "acme.toml").unlink()
    installed.tenants.chmod(0o755)
    assert await forgotten(installed, after=timedelta(hours=23)) == []
    assert await forgotten(installed, after=timedelta(hours=1)) == ["acme"]
