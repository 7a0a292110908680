import errno
import os
import socket
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import requests
from structlog.testing import capture_logs
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NewConnectionError

from adsyncd.errors import CredentialsUnavailable, OutOfResources
from adsyncd.host.shortage import Lacks, lacking, shortage
from support.descriptors import exhausted


def chained(*errors: BaseException) -> BaseException:
    """Return the last of the errors, which came of the one before, and so on."""
    for before, after in pairwise(errors):
        after.__cause__ = before
    return errors[-1]


def lost(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "this process has no file descriptor left; raise LimitNOFILE="),
        (errno.ENFILE, "this machine has no file descriptor left; raise fs.file-max"),
        (errno.ENOBUFS, "this machine has no memory left"),
        (errno.ENOMEM, "this machine has no memory left"),
    ],
)
def test_what_is_lacking_is_named_with_what_helps_wherever_in_the_chain_it_stands(number: int, words: str) -> None:
    attempts = OSError("All connection attempts failed")
    for error in (
        lost(number),
        chained(lost(number), attempts, httpx.ConnectError("All connection attempts failed")),
        chained(ExceptionGroup("", [ConnectionRefusedError(), lost(number)]), httpx.ConnectError("")),
    ):
        assert (shortage(error) or "").startswith(words)


def test_it_is_found_in_what_requests_makes_of_it() -> None:
    pool = HTTPConnectionPool("vault.invalid")
    failed = MaxRetryError(pool, "/", chained(lost(errno.EMFILE), NewConnectionError(pool, "no")))  # type: ignore[arg-type]
    failed.__context__ = failed.reason
    error = requests.ConnectionError(failed)
    error.__context__ = failed
    assert shortage(error)


@pytest.mark.parametrize(
    "error",
    [
        None,
        TimeoutError(),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError(errno.EADDRNOTAVAIL, "no IPv6 here"),
        OSError("All connection attempts failed"),
        httpx.ConnectError("no"),
        chained(socket.gaierror(socket.EAI_NONAME, "not known"), httpx.ConnectError("no")),
    ],
)
def test_what_another_is_to_blame_for_is_no_shortage(error: BaseException | None) -> None:
    assert shortage(error) is None


def test_a_name_that_could_not_be_looked_up_without_descriptors_is_no_fault_of_the_name_s() -> None:
    error = chained(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), httpx.ConnectError("no"))
    with exhausted(left=1):
        assert shortage(error) == lacking()
        assert lacking()
    assert shortage(error) is None


def test_a_shortage_that_was_found_stays_the_cause_when_it_is_over() -> None:
    looked_up = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for error in (OutOfResources("no descriptor"), CredentialsUnavailable("no descriptor")):
        assert shortage(chained(looked_up, OutOfResources("no descriptor"), error)) == "no descriptor"


def test_looking_whether_anything_is_lacking_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with exhausted(left=2):
        assert lacking()
    with suppress(OSError):
        lacking()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_chain_that_bites_its_tail_comes_to_an_end() -> None:
    one, other = ValueError(), ValueError()
    one.__context__, other.__context__ = other, one
    assert shortage(one) is None


def test_what_all_tenants_lack_is_logged_once_a_minute() -> None:
    lacks = Lacks()
    with capture_logs() as log:
        for second in range(150):
            lacks.tell("descriptors", second)
            lacks.tell("memory", second)
    assert [entry["cause"] for entry in log] == ["descriptors", "memory"] * 3
