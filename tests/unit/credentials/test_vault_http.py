import errno
import gzip
import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from random import Random

import anyio
import anyio.from_thread
import pytest
import requests
import urllib3
from hvac.exceptions import BadGateway, InvalidPath, UnexpectedError, VaultError
from requests.adapters import BaseAdapter

from adsyncd.clock import SystemClock
from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.vault_http import MOST_BYTES, ExchangeAdapter, VaultConnection
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.host.shortage import shortage
from adsyncd.model.status import VaultState
from support.clock import SetClock
from support.descriptors import exhausted

TIMEOUT_S = 30.0


class Vault:
    """Counts who asks, and how many at once; `failure` is raised instead of an answer."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked = self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def answer(self) -> str:
        with self._lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        threading.Event().wait(0.001)
        with self._lock:
            self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        return "an answer"


def connection(clock: SetClock | SystemClock, timeout_s: float = TIMEOUT_S) -> VaultConnection:
    return VaultConnection("Vault", timeout_s, Backoff(clock, Random(1)))


async def outcomes(to: VaultConnection, ask: Callable[[], str], callers: int) -> list[str]:
    """What so many hear who ask at once: the answer, or the state of an error."""
    heard: list[str] = []

    async def caller() -> None:
        try:
            heard.append(await to.ask(ask))
        except CredentialsError as error:
            heard.append(error.state)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return heard


async def test_a_thousand_who_ask_at_once_get_their_answers_ten_at_a_time() -> None:
    vault = Vault()
    assert await outcomes(connection(SystemClock()), vault.answer, 1000) == ["an answer"] * 1000
    assert vault.most_at_once == 10


async def test_when_vault_is_down_the_first_ten_find_out_and_the_others_hear_of_it() -> None:
    vault, clock = Vault(), SetClock()
    vault.failure = CredentialsUnavailable("sealed", VaultState.SEALED)
    to = connection(clock)
    assert await outcomes(to, vault.answer, 1000) == ["sealed"] * 1000
    assert vault.asked <= 10
    first = vault.asked
    assert await outcomes(to, vault.answer, 1000) == ["sealed"] * 1000
    assert vault.asked == first  # the wait is not over
    clock.elapsed_s += 60
    assert await outcomes(to, vault.answer, 1000) == ["sealed"] * 1000
    assert vault.asked == first + 1  # one finds out for all
    clock.elapsed_s += 60
    vault.failure = None
    assert await outcomes(to, vault.answer, 1000) == ["an answer"] * 1000


async def test_who_is_refused_does_not_hold_up_others() -> None:
    vault = Vault()
    to = connection(SetClock())
    vault.failure = CredentialsMissing("no", VaultState.DENIED)
    assert await outcomes(to, vault.answer, 20) == ["permission denied"] * 20
    assert vault.asked == 20


async def test_a_refusal_shows_that_vault_is_back_and_what_never_came_to_asking_does_not() -> None:
    vault, clock = Vault(), SetClock()
    to = connection(clock)
    vault.failure = CredentialsUnavailable("down", VaultState.DOWN)
    await outcomes(to, vault.answer, 1)
    clock.elapsed_s += 60
    vault.failure = CredentialsMissing("the secret id's file is not there")
    await outcomes(to, vault.answer, 1)
    assert to._outage.failure is not None
    vault.failure = CredentialsMissing("no", VaultState.REFUSED)
    await outcomes(to, vault.answer, 1)
    assert to._outage.failure is None


async def test_the_deadline_is_for_who_is_served_and_not_for_who_stands_in_line() -> None:
    def half_a_deadline() -> str:
        threading.Event().wait(0.1)
        return "an answer"

    assert await outcomes(connection(SystemClock(), 0.5), half_a_deadline, 100) == ["an answer"] * 100


async def test_what_takes_too_long_is_given_up_and_told_as_slow() -> None:
    release = threading.Event()
    try:
        assert await outcomes(connection(SetClock(), 0.05), lambda: str(release.wait(TIMEOUT_S)), 30) == ["slow"] * 30
    finally:
        release.set()


async def test_a_network_s_error_is_told_as_what_it_is() -> None:
    vault = Vault()
    vault.failure = OSError("no CA bundle")
    assert await outcomes(connection(SetClock()), vault.answer, 1) == ["untrusted"]


async def test_calls_that_hang_after_their_callers_gave_up_still_count() -> None:
    clock = SetClock()
    to = connection(clock)
    release, all_hang, hanging = threading.Event(), anyio.Event(), []

    def hang() -> str:
        hanging.append(threading.current_thread())
        if len(hanging) == 10:
            anyio.from_thread.run_sync(all_hang.set)
        assert release.wait(TIMEOUT_S)
        return ""

    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as callers:
            for _ in range(25):
                callers.start_soon(to.ask, hang)
            await all_hang.wait()
            callers.cancel_scope.cancel()
        try:
            with pytest.raises(CredentialsUnavailable, match="has not answered earlier requests"):
                await to.ask(lambda: "")
            assert len(hanging) == 10
        finally:
            release.set()
        while True:
            clock.elapsed_s += 60
            with suppress(CredentialsUnavailable):
                assert await to.ask(lambda: "an answer") == "an answer"
                break


async def test_what_this_process_lacks_is_no_outage_of_vault_s() -> None:
    vault, to = Vault(), connection(SetClock())
    vault.failure = OSError(errno.EMFILE, "Too many open files")
    for _ in range(3):
        with pytest.raises(
            CredentialsUnavailable, match="this process has no file descriptor left; raise LimitNOFILE="
        ):
            await to.ask(vault.answer)
    assert vault.asked == 3
    vault.failure = None
    assert await to.ask(vault.answer) == "an answer"


async def test_a_look_up_of_vault_s_name_that_found_no_descriptor_stays_this_process_s_state() -> None:
    vault, to = Vault(), connection(SetClock())
    vault.failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with exhausted(), pytest.raises(CredentialsUnavailable, match="no file descriptor left") as caught:
        await to.ask(vault.answer)
    assert shortage(caught.value)  # though there are descriptors again


class Counted(BytesIO):
    """Counts what is taken from it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        self.taken += len(part)
        return part


class Answer(BaseAdapter):
    """Answers the same, whatever it is asked."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.body = Counted(body)
        self.status = status
        self.headers = headers or {}

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url = self.status, str(request.url)
        response.raw = urllib3.HTTPResponse(self.body, self.headers, preload_content=False)
        return response

    def close(self) -> None:
        pass


def asked(answer: Answer) -> dict[str, object]:
    session = requests.Session()
    session.mount("http://", answer)
    return ExchangeAdapter("http://vault.invalid", session=session).request("get", "/v1/x")


NO_OBJECTS = [b"", b"<html>", b"null", b"5", b'"text"', b"[]", b"\xff", b'{"a": NaN}', b"[" * 200_000, b"9" * 5000]


@pytest.mark.parametrize("body", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
def test_what_is_no_object_counts_as_an_empty_one(body: bytes) -> None:
    assert asked(Answer(body)) == {}


def test_an_object_is_returned_as_it_is() -> None:
    assert asked(Answer(b'{"data": {"ttl": 5}}')) == {"data": {"ttl": 5}}


@pytest.mark.parametrize("status", [201, 204, 307])
def test_a_status_that_vault_does_not_answer_with_means_that_there_is_no_answer(status: int) -> None:
    assert asked(Answer(b'{"data": {}}', status)) == {}


@pytest.mark.parametrize(("size", "read"), [(MOST_BYTES, True), (MOST_BYTES + 1, False)])
def test_an_answer_that_is_too_long_is_not_read(size: int, read: bool) -> None:
    around = len(json.dumps({"a": ""}))
    assert bool(asked(Answer(json.dumps({"a": "x" * (size - around)}).encode()))) is read


def test_of_an_answer_that_is_too_long_the_rest_is_left() -> None:
    answer = Answer(b" " * 3 * MOST_BYTES)
    assert asked(answer) == {}
    assert answer.body.taken < 2 * MOST_BYTES


def test_a_little_that_unpacks_to_a_lot_is_not_read() -> None:
    assert asked(Answer(gzip.compress(b" " * 2 * MOST_BYTES), headers={"content-encoding": "gzip"})) == {}


@pytest.mark.parametrize(
    ("status", "kind"), [(404, InvalidPath), (502, BadGateway), (418, UnexpectedError), (599, UnexpectedError)]
)
@pytest.mark.parametrize("body", [b'"bad gateway"', b'{"errors": [{}]}', b'{"errors": 5}', b'{"data": 1}', *NO_OBJECTS])
def test_an_error_is_of_its_status_and_carries_the_object_alone(status: int, kind: type, body: bytes) -> None:
    with pytest.raises(VaultError) as caught:
        asked(Answer(body, status))
    assert type(caught.value) is kind
    assert isinstance(caught.value.json, dict)
    assert (caught.value.text, caught.value.errors) == (None, None)
