import os
from pathlib import Path

import pytest

from adsyncd.config.regular_file import NotRegular, read_regular


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
        assert caught.value.strerror == "no regular file"


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
