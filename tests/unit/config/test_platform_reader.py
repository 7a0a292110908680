import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adsyncd.config import platform_reader
from adsyncd.config.platform_reader import PlatformReader, Platforms
from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.profile_file import SHIPPED, shipped_profile
from support.profiles import OWN

OLD, NEW = 1 << 62, 0  # what changed before is settled, or not


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


class Reads:
    """Reads the platforms `own`, whose profile is in a file, and `mixo`, again and again."""

    def __init__(self, path: Path) -> None:
        self.reader = PlatformReader()
        self.path = path

    def __call__(self, settled_ns: int = OLD, **keys: object) -> Platforms:
        own = {"profile": str(self.path)} | keys
        tables = {"own": own, "mixo": {"base_url": "https://ads"}}
        return self.reader.read(
            {name: PlatformTable.model_validate(table) for name, table in tables.items()}, settled_ns
        )


@pytest.fixture
def read(path: Path) -> Reads:
    return Reads(path)


def test_each_platform_has_its_profile(read: Reads) -> None:
    found = read()
    assert found.good["own"].profile.name == "own"
    assert found.good["mixo"].profile is shipped_profile()
    assert (found.problems, found.unsettled) == ({}, False)


def test_an_unchanged_file_is_not_read_again(read: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read()
    monkeypatch.setattr(platform_reader, "load_profile", None)
    assert read() == first
    assert read().good["own"].profile is first.good["own"].profile


def test_a_bad_file_that_is_unchanged_is_not_read_again_either(
    read: Reads, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("")
    first = read()
    monkeypatch.setattr(platform_reader, "load_profile", None)
    assert read() == first
    assert list(first.problems) == ["own"]


def test_a_file_that_changed_just_now_is_read_again(read: Reads, path: Path) -> None:
    path.write_text("half written")
    assert read(NEW).unsettled
    status = path.stat()
    path.write_text(OWN)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "own" in read(NEW).good
    assert not read(NEW).unsettled


def test_a_comment_changes_nothing(read: Reads, path: Path) -> None:
    first = read()
    path.write_text(f"# mine\n{OWN}")
    assert read().good["own"].profile is first.good["own"].profile
    path.write_text(OWN.replace("data", "items"))
    assert read().good["own"].profile.listing.records == "items"


def text(path: Path) -> None:
    path.write_text(OWN.replace("data", "a..b"))


def mode(path: Path) -> None:
    path.chmod(0o666)


def folder(path: Path) -> None:
    path.parent.chmod(0o777)


def gone(path: Path) -> None:
    path.unlink()


def elsewhere(path: Path) -> None:
    other = path.parent / "sub" / "own.toml"
    other.parent.mkdir()
    other.write_text("")
    path.unlink()
    path.symlink_to("sub/own.toml")


@pytest.mark.parametrize("change", [text, mode, folder, gone, elsewhere])
def test_the_last_good_profile_stays_in_force_while_the_file_can_not_be_used(
    read: Reads, path: Path, change: Callable[[Path], None]
) -> None:
    first = read()
    change(path)
    found = read()
    assert found.good == first.good
    assert list(found.problems) == ["own"]
    path.parent.chmod(0o755)
    path.unlink(missing_ok=True)
    path.write_text(OWN.replace("data", "items"))
    found = read()
    assert found.problems == {}
    assert found.good["own"].profile.listing.records == "items"


def test_a_profile_that_never_was_good_leaves_its_platform_out(read: Reads, path: Path) -> None:
    path.write_text("")
    found = read()
    assert list(found.good) == ["mixo"]
    assert [problem.key for problem in found.problems["own"]] == ["fields", "list", "sign_in"]


def test_meanwhile_the_settings_of_the_platform_are_taken_up(read: Reads, path: Path) -> None:
    read()
    path.write_text("")
    found = read(base_url="https://eu")
    assert found.good["own"].base_url == "https://eu"
    assert list(found.problems) == ["own"]


def test_a_profile_does_not_go_to_the_address_of_another(read: Reads, path: Path) -> None:
    first = read()
    read.path = path.with_name("other.toml")
    found = read(base_url="https://other")
    assert found.good["own"] == first.good["own"]
    assert list(found.problems) == ["own"]
    read.path.write_text(OWN)
    assert read(base_url="https://other").good["own"].base_url == "https://other"


def test_a_profile_without_an_address_that_the_settings_lack_too_is_a_problem(read: Reads, path: Path) -> None:
    first = read()
    path.write_text(OWN.partition("\n")[2])
    found = read()
    assert found.good == first.good
    assert [(problem.path, problem.key) for problem in found.problems["own"]] == [(path, "base_url")]
    assert read(base_url="https://own").problems == {}


def test_a_path_to_a_profile_that_adsyncd_does_not_have_is_a_problem(read: Reads) -> None:
    read.path = SHIPPED / "none.toml"
    assert list(read().problems) == ["own"]
