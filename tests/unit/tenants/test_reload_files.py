from datetime import timedelta
from functools import partial

import anyio
import pytest

from adsyncd.errors import StoreError
from adsyncd.model.tenant import Every
from adsyncd.tenants import reload
from support.installation import ACME, GLOBEX, Installation, Logs, told


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # files are read in threads


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
