import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from adsyncd.config.file_access import Custodians, NotRegular, read_regular
from adsyncd.errors import Problem

SERVICE, STRANGER = 64_001, 64_002  # users, and the groups of the same number
OTHERS = "is writable by others than root and the daemon's user"


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users and groups as Debian makes them, each user with a group of its own; and a group that both are in."""
    people = [
        pwd.struct_passwd((name, "x", number, number, "", "/", "/bin/false"))
        for name, number in {"root": 0, "adsyncd": SERVICE, "mallory": STRANGER}.items()
    ]
    groups = {SERVICE: [], STRANGER: [], 50: ["adsyncd", "mallory"], 51: ["adsyncd"], 52: ["gone"]}
    monkeypatch.setattr(pwd, "getpwall", lambda: people)
    monkeypatch.setattr(pwd, "getpwuid", {one.pw_uid: one for one in people}.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("any", "x", gid, groups[gid])))


def objection(path: Path, mode: int, uid: int = 0, gid: int = 0) -> Problem | None:
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))
    return Custodians(SERVICE).objection(path, status)


@pytest.mark.parametrize(
    ("mode", "uid", "gid"),
    [
        (0o644, 0, 0),
        (0o640, 0, STRANGER),  # they may read it
        (0o600, SERVICE, SERVICE),
        (0o664, 0, 0),
        (0o664, SERVICE, SERVICE),  # umask 0002, and a private group
        (0o664, 0, SERVICE),
        (0o664, 0, 51),
    ],
)
def test_what_root_and_the_service_alone_may_change_is_accepted(tmp_path: Path, mode: int, uid: int, gid: int) -> None:
    assert objection(tmp_path, mode, uid, gid) is None


@pytest.mark.parametrize(
    ("mode", "uid", "gid"),
    [
        (0o666, 0, 0),
        (0o602, SERVICE, SERVICE),
        (0o664, 0, STRANGER),
        (0o664, SERVICE, 50),  # another is in it
        (0o664, 0, 52),  # one who is no user
        (0o664, 0, 99),  # no group is known by that number
        (0o1777, 0, 0),
    ],
)
def test_what_others_may_change_is_refused_with_the_command_that_fixes_it(
    tmp_path: Path, mode: int, uid: int, gid: int
) -> None:
    path = tmp_path / "acme inc.toml"
    path.touch()
    assert objection(path, mode, uid, gid) == Problem(path, None, None, OTHERS, f"chmod go-w '{path}'")


@pytest.mark.parametrize(("uid", "name"), [(STRANGER, "mallory"), (64_003, "user 64003")])
def test_what_belongs_to_another_is_refused_whatever_its_mode(tmp_path: Path, uid: int, name: str) -> None:
    problem = objection(tmp_path, 0o400, uid)
    assert problem == Problem(tmp_path, None, None, f"belongs to {name}, who may change it", f"chown root {tmp_path}")


def test_a_group_that_an_acl_hides_others_behind_is_not_only_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listxattr", lambda _: ["system.posix_acl_access"])
    assert objection(tmp_path, 0o664)
    assert objection(tmp_path, 0o644) is None


def test_a_file_system_without_attributes_has_no_acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> list[str]:
        raise OSError(95, os.strerror(95), path)

    monkeypatch.setattr(os, "listxattr", refuse)
    assert objection(tmp_path, 0o664) is None


def test_a_file_is_read_up_to_a_byte_more_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    assert read_regular(path, 6) == b"abcdef"
    assert read_regular(path, 2) == b"abc"


def test_of_a_file_of_five_gigabytes_no_more_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 5 << 30)
    assert read_regular(path, 10) == bytes(11)


def test_a_pipe_blocks_nothing_and_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(NotRegular) as caught:
            read_regular(path, 10)
        assert caught.value.strerror == "not a regular file"


def test_a_directory_and_nothing_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 10)
    (tmp_path / "dangling").symlink_to("none")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "dangling", 10)


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none"):
        with pytest.raises((IsADirectoryError, NotRegular, FileNotFoundError)):
            read_regular(path, 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
