import gzip
import json
from collections.abc import Mapping
from io import BytesIO

import pytest
import requests
import urllib3
from hvac.exceptions import BadGateway, InvalidPath, UnexpectedError, VaultError
from requests.adapters import BaseAdapter

from adsyncd.credentials.exchange import MOST_BYTES, ExchangeAdapter


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
