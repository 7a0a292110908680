# ruff: noqa: ASYNC240 - files on a disk nearby, which is what these tests are about
"""What a reload does about the profiles of platforms."""

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.model.status import RefusedFile
from support.installation import ACME, GLOBEX, Installation
from support.profiles import OWN


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # files are read in threads


@pytest.fixture
def profile(installed: Installation) -> Path:
    """The profile of the platform `own`, with the tenant `globex`, beside `acme` of the platform `mixo`."""
    (installed.folder / "profiles").mkdir()
    path = installed.write("profiles/own.toml", OWN)
    installed.configure(f'platforms.own.profile = "{path}"')
    installed.write("tenants.d/acme.toml", ACME)
    installed.write("tenants.d/globex.toml", GLOBEX.replace("mixo", "own"))
    return path


def records(installed: Installation, tenant: str = "globex") -> str:
    return installed.registry.tenants[tenant].platform.profile.listing.records


async def test_a_changed_profile_is_taken_up_by_the_tenants_of_its_platform_alone(
    installed: Installation, profile: Path
) -> None:
    await installed.reloader.reload()
    profile.write_text(OWN.replace('"data"', '"items"'))
    report = await installed.reloader.reload()
    assert (report.changed, report.unchanged, report.refused) == (("globex",), ("acme",), ())
    assert records(installed) == "items"


async def test_a_bad_profile_costs_nobody_anything_and_is_named_once(installed: Installation, profile: Path) -> None:
    for number in range(30):
        installed.write(f"tenants.d/t{number}.toml", GLOBEX.replace("mixo", "own"))
    await installed.reloader.reload()
    profile.write_text("[sign_in")
    installed.write("tenants.d/acme.toml", ACME + "weight = 2")
    installed.write("tenants.d/hooli.toml", ACME)
    installed.write("tenants.d/t7.toml", GLOBEX.replace("mixo", "own") + "weight = 3")
    installed.configure(f'platforms.own.profile = "{profile}"\nshutdown_grace = "7s"')
    with capture_logs() as logged:
        report = await installed.reloader.reload()
        assert (await installed.reloader.reload()).refused == report.refused
    assert (report.added, report.changed, report.removed) == (("hooli",), ("acme", "t7"), ())
    [refusal] = report.refused
    assert (refusal.tenant, refusal.platform, refusal.goes_on) == (None, "own", True)
    assert [problem.path for problem in refusal.problems] == [profile]
    assert installed.reloader.settings.shutdown_grace.total_seconds() == 7
    assert installed.registry.tenants["t7"].weight == 3
    assert records(installed) == records(installed, "t7") == "data"
    assert installed.refused() == 1
    [entry] = [entry for entry in logged if entry["log_level"] == "error"]
    assert (entry["event"], entry["platform"], entry["goes_on"]) == ("profile refused", "own", True)
    assert str(profile) in entry["problem"]
    with capture_logs() as logged:
        profile.write_text(OWN.replace('"data"', '"items"'))
        assert (await installed.reloader.reload()).refused == ()
    assert {"event": "profile no longer refused", "platform": "own", "log_level": "info"} in logged
    assert records(installed) == records(installed, "t7") == "items"


async def test_at_the_start_a_bad_profile_refuses_its_own_tenants_alone_and_is_named_once(
    installed: Installation, profile: Path
) -> None:
    profile.unlink()
    for number in range(3):
        installed.write(f"tenants.d/t{number}.toml", GLOBEX.replace("mixo", "own"))
    with capture_logs() as logged:
        report = await installed.reloader.reload()
    assert report.added == ("acme",)
    of_profile, *of_tenants = report.refused
    assert (of_profile.tenant, of_profile.platform, of_profile.goes_on) == (None, "own", False)
    assert len(of_profile.problems) == 1
    assert of_tenants == [RefusedFile(name, (), goes_on=False, platform="own") for name in ("globex", "t0", "t1", "t2")]
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["profile refused"]
    assert installed.refused() == 1
    with capture_logs() as logged:
        profile.write_text(OWN)
        assert (await installed.reloader.reload()).added == ("globex", "t0", "t1", "t2")
    assert [entry["event"] for entry in logged if "no longer" in entry["event"]] == ["profile no longer refused"]


async def test_a_tenant_of_a_bad_profile_may_have_a_bad_drop_in_as_well(installed: Installation, profile: Path) -> None:
    await installed.reloader.reload()
    profile.write_text("")
    installed.write("tenants.d/globex.toml", GLOBEX.replace("mixo", "own") + "enabeld = true")
    of_profile, of_tenant = (await installed.reloader.reload()).refused
    assert (of_profile.platform, of_tenant.tenant, of_tenant.goes_on) == ("own", "globex", True)
    assert [problem.key for problem in of_tenant.problems] == ["enabeld"]


@pytest.mark.usefixtures("profile")
async def test_a_platform_that_names_another_profile_is_watched_there(installed: Installation) -> None:
    await installed.reloader.reload()
    installed.reloader.elsewhere = anyio.Event()
    await installed.reloader.reload()
    assert not installed.reloader.elsewhere.is_set()
    other = installed.write("profiles/other.toml", OWN)
    installed.configure(f'platforms.own.profile = "{other}"')
    await installed.reloader.reload()
    assert installed.reloader.elsewhere.is_set()
    assert installed.registry.tenants["globex"].platform.profile.name == "other"


async def test_a_half_written_profile_is_read_again_by_a_patient_reload(
    installed: Installation, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installed.reloader.reload()
    monkeypatch.setattr("adsyncd.tenants.reload._SETTLES_S", 0.01)
    profile.write_text("[sign")
    installed.before_loading = [lambda: None, lambda: profile.write_text(OWN.replace('"data"', '"items"'))]
    assert (await installed.reloader.reload(patient=True)).refused == ()
    assert records(installed) == "items"
