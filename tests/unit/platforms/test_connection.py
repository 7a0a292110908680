"""One connection, to which a test feeds the bytes that a peer might send."""

import gc
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import httpx
import pytest

from adsyncd.platforms.connection import MOST_FRAMING, MOST_HEADERS, Connection, NotSent
from support.hostile import ANSWERS, CODED, CONTINUE, ENDLESS, LINE, ONCE, PLAIN, Answer, Read, Then, filled
from support.wire import LOOP, Exchange, exchanged, result

BODY = b'{"success": true, "campaign_id": "c-1"}'
READ = 256 * 1024  # bytes that asyncio reads at once
ANSWERED = filled(PLAIN, BODY)
LATE = [answer for answer in ANSWERS if not answer.early]


def expected(answer: Answer) -> object:
    gives = answer.gives
    return replace(gives, body=filled(gives.body, BODY)) if isinstance(gives, Read) else gives


@pytest.mark.parametrize("answer", LATE, ids=lambda answer: answer.name)
def test_an_answer_is_read_or_refused(answer: Answer) -> None:
    assert result(answer, BODY) == expected(answer)


@pytest.mark.parametrize(
    "answer", [each for each in LATE if each.then is not Then.ENDLESSLY], ids=lambda each: each.name
)
@pytest.mark.parametrize("size", [1, 7])
def test_it_matters_not_in_what_segments_an_answer_comes(answer: Answer, size: int) -> None:
    sent = b"".join(answer.sent(BODY))
    pieces = (sent[start : start + size] for start in range(0, len(sent), size))
    exchange = exchanged(pieces, Then.STAYS if answer.then is Then.DRIPS else answer.then)
    assert exchange.result() == expected(answer)


def test_an_answer_that_nobody_asked_for_closes_the_connection() -> None:
    exchange = exchanged([ANSWERED])
    assert exchange.connection.is_reusable
    exchange.receive(ANSWERED)
    assert (exchange.connection.is_reusable, exchange.wire.closed) == (False, True)
    with pytest.raises(NotSent):
        exchange.connection.exchange(b"second", None).send(None)
    assert exchange.wire.written == b"request"


def test_a_body_that_was_not_taken_is_not_part_of_the_next_answer() -> None:
    exchange = Exchange(reads=False)
    exchange.receive(ANSWERED)
    assert (exchange.connection.complete, exchange.connection.is_reusable) == (True, False)
    assert exchange.connection.taken() == BODY
    assert exchange.connection.is_reusable


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda answer: answer.name)
def test_what_one_read_of_the_socket_brings_is_worked_through_in_bounded_time_and_memory(answer: Answer) -> None:
    """Time is counted in calls: a call takes a third of a microsecond or so."""
    pieces = answer.sent(BODY)
    work = calls(b"".join(pieces) + pieces[-1] * (READ // len(pieces[-1])))
    assert work.total() <= READ // 8 + 4096


@pytest.mark.parametrize("size", range(1, 8))
def test_chunks_of_no_size_make_more_work(size: int) -> None:
    work = calls(CODED + (b"%d\r\n%b\r\n" % (size, b"x" * size)) * (READ // (size + 5)))
    assert work.total() <= READ // 8 + 4096


def calls(data: bytes) -> Counter[str]:
    made = Counter[str]()

    class Counting(Connection):
        def __getattribute__(self, name: str) -> object:
            value = super().__getattribute__(name)
            return partial(counted, name, value) if name.startswith("on_") else value

    def counted(name: str, call: Callable[..., object], *values: object) -> object:
        made.update([name])
        return call(*values)

    exchange = Exchange(reads=False, connection=Counting(LOOP, set()))
    exchange.receive(data[:READ])
    return made


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda answer: answer.name)
def test_a_connection_keeps_little_of_an_answer_that_nobody_reads(answer: Answer) -> None:
    exchange = Exchange(reads=False)
    pieces = answer.sent(BODY)
    for piece in (*pieces, *[pieces[-1] * (READ // len(pieces[-1]))] * 20):
        if exchange.wire.reading:
            exchange.receive(piece)
    kept = vars(exchange.connection).values()
    sizes = [sys.getsizeof(each) for each in kept if isinstance(each, bytes | bytearray)]
    assert sum(sizes) <= 3 * READ + MOST_FRAMING  # a bytearray may take an eighth more than it holds
    assert len(exchange.connection.headers) <= MOST_HEADERS + 1
    assert not exchange.wire.reading or exchange.wire.closed or exchange.connection.complete


def test_reading_goes_on_once_the_body_is_taken() -> None:
    exchange = Exchange(reads=False)
    exchange.receive(LINE + b"\r\n")
    while exchange.wire.reading:
        exchange.receive(b" " * READ)
    assert exchange.connection.taken().strip() == b""
    assert exchange.wire.reading


def test_an_answer_with_the_most_headers_is_read_and_one_more_is_not() -> None:
    most = b"X: y\r\n" * (MOST_HEADERS - 1) + b"Content-Length: 0\r\n"
    assert exchanged([LINE + most + b"\r\n"]).result() == Read(200, b"")
    assert exchanged([LINE + b"X: y\r\n" + most + b"\r\n"]).result() is httpx.RemoteProtocolError


def test_a_body_may_be_framed_by_as_many_bytes_as_it_has_and_some_more() -> None:
    tokens = b"5\r\n12345\r\n" * 100_000
    assert exchanged([CODED + tokens + b"0\r\n\r\n"]).result() == Read(200, b"12345" * 100_000)


def test_headers_of_an_interim_answer_are_not_those_of_the_answer() -> None:
    exchange = exchanged([CONTINUE.replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n") + ANSWERED])
    assert exchange.connection.headers == [(b"Content-Length", b"%d" % len(BODY))]


def test_a_connection_that_is_gone_leaves_no_cycle_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        exchange = exchanged([filled(CODED + b"<hex>\r\n<body>\r\n0\r\n\r\n", BODY)])
        exchange.close()
        assert not [each for each in gc.get_objects() if type(each).__name__ == "HttpResponseParser"]
    finally:
        gc.enable()
    assert exchange.result() == replace(ONCE, body=BODY)
