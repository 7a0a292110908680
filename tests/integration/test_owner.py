"""Whether a process still lives is seen from its socket's name, which the kernel frees."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from adsyncd.host.owner import ProcessOwner, open_owner

BE = """
import random, sys, time
from adsyncd.host.owner import open_owner
with open_owner("this boot", random.Random()) as owner:
    print(owner.id, flush=True)
    time.sleep(600)  # until the test kills it
"""


@pytest.fixture
def here() -> Iterator[ProcessOwner]:
    with open_owner("this boot", Random()) as owner:
        yield owner


@contextmanager
def another() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start another process, and yield it with its owner's id; in the end it is killed."""
    with subprocess.Popen([sys.executable, "-c", BE], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_process_that_lives_is_not_gone_though_it_stands_still(here: ProcessOwner) -> None:
    with another() as (process, its):
        assert not here.is_gone(its)
        process.send_signal(SIGSTOP)
        assert not here.is_gone(its)
        process.send_signal(SIGCONT)
    assert not here.is_gone(here.id)


def test_a_process_that_was_killed_is_gone_at_once(here: ProcessOwner) -> None:
    with another() as (process, its):
        process.send_signal(SIGKILL)
        process.wait()
        assert here.is_gone(its)


def test_one_who_is_done_is_gone(here: ProcessOwner) -> None:
    with open_owner("this boot", Random()) as other:
        assert not here.is_gone(other.id)
    assert here.is_gone(other.id)


@pytest.mark.parametrize(("what", "instead"), [("this boot", "that boot"), ("net:[", "net:[9"), ("; ", " ")])
def test_of_one_who_can_t_be_looked_for_from_here_it_is_not_known(here: ProcessOwner, what: str, instead: str) -> None:
    with open_owner("this boot", Random()) as other:
        pass
    assert here.is_gone(other.id)
    assert not here.is_gone(other.id.replace(what, instead))


def test_where_the_network_namespace_is_not_known_nobody_is_known_to_be_gone(
    here: ProcessOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> Path:
        raise PermissionError

    monkeypatch.setattr(Path, "readlink", refuse)
    with open_owner("this boot", Random()) as nowhere:
        pass
    with open_owner("this boot", Random()) as also_nowhere:
        assert not here.is_gone(nowhere.id)
        assert not also_nowhere.is_gone(nowhere.id)


def test_without_a_file_descriptor_to_look_with_nobody_is_known_to_be_gone(here: ProcessOwner) -> None:
    with open_owner("this boot", Random()) as other:
        pass
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert not here.is_gone(other.id)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert here.is_gone(other.id)


def test_of_one_that_tells_no_place_it_is_not_known() -> None:
    assert not ProcessOwner("this process").is_gone("another process; elsewhere")


def test_an_owner_is_named_in_words_first(here: ProcessOwner) -> None:
    words, _, _ = here.id.partition("; ")
    assert words.startswith("process ")
    assert " on " in words
