import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adsyncd.config import drop_in_files, dropins, platform_reader
from adsyncd.config.dropins import DropIns, Tenants
from adsyncd.errors import Problem
from adsyncd.model.tenant import EnvRef, Every
from support.dropins import ACME, Folders
from support.profiles import OWN
from support.records import HandClock


@pytest.fixture
def clock() -> HandClock:
    """A clock that is an hour ahead of the file system's: all files are old."""
    return HandClock(datetime.now(UTC) + timedelta(hours=1))  # noqa: TID251 - as the file system has it


@pytest.fixture
def drop_ins(clock: HandClock) -> DropIns:
    return DropIns(clock)


def test_who_has_not_changed_is_the_same_object_again(folders: Folders, drop_ins: DropIns) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("low/globex.toml", ACME)
    first = drop_ins.read(folders.settings())
    folders.write("low/globex.toml.d/10.toml", "enabled = false")
    second = drop_ins.read(folders.settings())
    assert second.good["acme"] is first.good["acme"]
    assert second.good["globex"].enabled is False


def test_what_was_wrong_is_still_wrong_without_being_read_again(
    folders: Folders, drop_ins: DropIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.write("low/acme.toml", "nonsense")
    first = drop_ins.read(folders.settings())
    monkeypatch.setattr(dropins, "read_toml", None)
    assert drop_ins.read(folders.settings()) == first
    assert list(first.bad) == ["acme"]


@pytest.mark.parametrize("change", ["text", "mode", "file", "override", "gone", "masked"])
def test_every_kind_of_change_is_seen(folders: Folders, drop_ins: DropIns, change: str) -> None:
    path = folders.write("low/acme.toml", ACME)
    os.utime(path, ns=(1, 1))
    first = drop_ins.read(folders.settings())
    match change:
        case "text":  # of the same length, and as old as it was, as a careful editor may leave it
            path.write_text(ACME.replace("ACME", "EMCA"))
            os.utime(path, ns=(1, 1))
        case "mode":
            path.chmod(0o666)
        case "file":
            other = folders.write("low/other", ACME.replace("ACME", "EMCA"))
            os.utime(other, ns=(1, 1))
            other.rename(path)
        case "override":
            folders.write("high/acme.toml.d/10.toml", "enabled = false")
        case "gone":
            path.unlink()
        case "masked":
            (folders.high / "acme.toml").symlink_to(os.devnull)
    assert drop_ins.read(folders.settings()) != first


def test_a_link_that_leads_elsewhere_now_is_seen(folders: Folders, drop_ins: DropIns) -> None:
    folders.write("low/..1/acme.toml", ACME)
    folders.write("low/..2/acme.toml", ACME + "enabled = false")
    (folders.low / "..data").symlink_to("..1")
    (folders.low / "acme.toml").symlink_to("..data/acme.toml")
    assert drop_ins.read(folders.settings()).good["acme"].enabled is True
    (folders.low / "..new").symlink_to("..2")
    (folders.low / "..new").rename(folders.low / "..data")
    assert drop_ins.read(folders.settings()).good["acme"].enabled is False


def test_other_defaults_or_platforms_change_tenants_whose_files_are_the_same(
    folders: Folders, drop_ins: DropIns
) -> None:
    folders.write("low/acme.toml", ACME)
    first = drop_ins.read(folders.settings()).good["acme"]
    slow = drop_ins.read(folders.settings(defaults={"schedule": {"every": "1h"}})).good["acme"]
    moved = drop_ins.read(folders.settings(platforms={"mixo": {"base_url": "https://other"}})).good["acme"]
    assert (slow.schedule, moved.platform.base_url) == (Every(timedelta(hours=1)), "https://other")
    assert drop_ins.read(folders.settings()).good["acme"] == first


def test_a_file_that_changed_just_now_is_read_again_since_the_next_change_may_not_show(
    folders: Folders, drop_ins: DropIns, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.write("low/acme.toml", ACME)
    status = drop_in_files._file_status(path)
    monkeypatch.setattr(drop_in_files, "_file_status", lambda _: status)  # the file system's clock is too coarse
    clock.instant = datetime.fromtimestamp(path.stat().st_ctime, UTC)
    drop_ins.read(folders.settings())
    path.write_text(ACME.replace("ACME", "EMCA"))
    assert drop_ins.read(folders.settings()).good["acme"].credentials == EnvRef("EMCA")


@pytest.mark.parametrize(
    ("text", "age_s", "unsettled"), [("", 0, True), ("client", 0, True), (ACME, 0, False), ("", 2, False)]
)
def test_a_file_that_is_wrong_or_empty_may_be_half_written_if_it_changed_just_now(
    folders: Folders, drop_ins: DropIns, clock: HandClock, text: str, age_s: int, unsettled: bool
) -> None:
    path = folders.write("low/acme.toml", text)
    clock.instant = datetime.fromtimestamp(path.stat().st_ctime + age_s, UTC)
    assert drop_ins.read(folders.settings()).unsettled is unsettled


def test_a_file_that_goes_away_while_it_is_looked_for_is_none(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.write("low/acme.toml", ACME)
    names = drop_in_files._names(folders.low)
    path.unlink()
    monkeypatch.setattr(drop_in_files, "_names", lambda folder: names if folder == folders.low else [])
    assert folders.read() == Tenants({}, {}, [])


@pytest.mark.parametrize("text", ["", "nonsense"])
def test_a_file_that_changes_while_a_disagreement_is_located_rejects_its_tenant_alone(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folders.write("low/a.toml", ACME)
    path = folders.write("low/b.toml", ACME + 'quota = { requests = 20, per = "60s" }')
    disagreement = dropins._Reader.disagreement

    def change_and_locate(*arguments: Any) -> list[Problem]:  # noqa: ANN401 - its own
        path.write_text(text)
        return disagreement(*arguments)

    monkeypatch.setattr(dropins._Reader, "disagreement", change_and_locate)
    tenants = folders.read()
    assert list(tenants.good) == ["a"]
    assert [problem.path for problem in tenants.bad["b"]] == [path]


def test_a_disagreement_ends_when_the_other_tenant_changes(folders: Folders, drop_ins: DropIns) -> None:
    folders.write("low/a.toml", ACME)
    folders.write("low/b.toml", ACME + 'quota = { requests = 20, per = "60s" }')
    assert list(drop_ins.read(folders.settings()).bad) == ["b"]
    folders.write("low/a.toml", ACME + 'quota = { requests = 20, per = "60s" }')
    assert list(drop_ins.read(folders.settings()).good) == ["a", "b"]


# Profiles


def on(path: Path, **platforms: dict[str, str]) -> dict[str, object]:
    return {"platforms": {"mixo": {"base_url": "https://ads"}, "own": {"profile": str(path)}} | platforms}


def test_tenants_go_on_with_the_last_good_profile_and_take_up_their_drop_ins(
    folders: Folders, drop_ins: DropIns
) -> None:
    path = folders.write("profiles/own.toml", OWN)
    folders.write("low/acme.toml", ACME)
    folders.write("low/globex.toml", ACME.replace("mixo", "own"))
    first = drop_ins.read(folders.settings(**on(path)))
    path.write_text(OWN.replace("records", "recods"))
    folders.write("low/hooli.toml", ACME.replace("mixo", "own").replace("acme", "hooli"))
    second = drop_ins.read(folders.settings(**on(path)))
    assert list(second.good) == ["acme", "globex", "hooli"]
    assert second.good["globex"] is first.good["globex"]
    assert second.good["hooli"].platform.profile is first.good["globex"].platform.profile
    assert [(problem.path, problem.key) for problem in second.problems] == [
        (path, "list.records"),
        (path, "list.recods"),
    ]
    path.write_text(OWN.replace('"data"', '"items"'))
    third = drop_ins.read(folders.settings(**on(path)))
    assert third.problems == []
    assert third.good["acme"] is first.good["acme"]
    assert third.good["globex"].platform.profile.listing.records == "items"


def test_a_profile_that_never_was_good_is_named_once_for_all_of_its_tenants(
    folders: Folders, drop_ins: DropIns
) -> None:
    path = folders.write("profiles/own.toml", "[sign_in")
    for number in range(20):
        folders.write(f"low/t{number}.toml", ACME.replace("mixo", "own"))
    folders.write("low/acme.toml", ACME)
    folders.write("low/wrong.toml", ACME.replace("mixo", "own") + "enabeld = true")
    found = drop_ins.read(folders.settings(**on(path, twin={"profile": str(path)})))
    assert list(found.good) == ["acme"]
    assert len(found.bad) == 21
    [of_tenant, of_profile] = found.problems
    assert (of_tenant.key, of_profile.path) == ("enabeld", path)
    assert found.bad["t7"] == [of_profile]
    assert found.profiles == {(of_profile,): "own"}


def test_profiles_are_not_read_for_each_tenant(
    folders: Folders, drop_ins: DropIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.write("profiles/own.toml", OWN)
    for number in range(5):
        folders.write(f"low/t{number}.toml", ACME.replace("mixo", "own"))
    drop_ins.read(folders.settings(**on(path)))
    monkeypatch.setattr(platform_reader, "load_profile", None)
    folders.write("low/t1.toml", ACME.replace("mixo", "own") + "weight = 2")
    assert drop_ins.read(folders.settings(**on(path))).good["t1"].weight == 2


def test_a_push_of_the_defaults_holds_for_platforms_that_take_pushes(folders: Folders) -> None:
    path = folders.write("profiles/own.toml", OWN)
    folders.write("low/acme.toml", ACME)
    folders.write("low/globex.toml", ACME.replace("mixo", "own"))
    found = folders.read(**on(path), defaults={"sync": {"push": "changed"}})
    assert {name: tenant.sync.push for name, tenant in found.good.items()} == {"acme": "changed", "globex": "none"}
    folders.write("low/globex.toml", ACME.replace("mixo", "own") + "\nsync.push = 'changed'")
    [problem] = folders.read(**on(path)).problems
    assert (problem.line, problem.key) == (5, "sync.push")
