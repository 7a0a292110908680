"""Generated answers, whole and broken: h11 judges what is valid, and no cut of an answer changes the result."""

from itertools import pairwise

import h11
import httpx
from httptools import HttpParserError, HttpResponseParser
from hypothesis import example, given
from hypothesis import strategies as st

from support.examples import examples
from support.hostile import ANSWERS, Outcome, Read, Then
from support.wire import Exchange, exchanged

# Why an answer is refused that h11 takes. Each is stricter than h11, and none is looser.
STRICTER = (  # our rules that h11 does not have
    "an interim answer",
    "control characters",
    "not that of HTTP/1.1",  # other versions
)

INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 102 \r\n\r\n",
)
HEADERS = (
    b"Server: x",
    b"X-Empty:",
    b"X:  padded \t ",
    b"X: \xe4\xff",
    b"Connection: close",
    b"Connection: keep-alive",
)
SPICE = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"-",
        b"+",
        b"_",
        b"\0",
        b"\x1f",
        b"\xff",
    ),
    *(
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close\r\n",
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n\r\n", b"RTSP/1.0", b"0\r\n\r\n", b'"', b"="),
)


@st.composite
def valid(draw: st.DrawFn) -> bytes:
    """An answer of any framing, of which some end with the connection."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    status = draw(st.sampled_from([200, 200, 201, 204, 304, 400, 429, 500, 999]))
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" Not Found \xe4"]))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    body = b"" if status in (204, 304) else draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["length", "chunks", "end"]))
    if framing == "length" and status not in (204, 304):
        headers.append(draw(st.sampled_from([b"Content-Length", b"content-length"])) + b": %d" % len(body))
    elif framing == "chunks" and status not in (204, 304):
        headers.append(b"Transfer-Encoding: " + draw(st.sampled_from([b"chunked", b"Chunked"])))
        size = draw(st.integers(1, 9))
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
        body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
        body += b"0\r\n" + trailers + b"\r\n"
    interim = b"".join(draw(st.lists(st.sampled_from(INTERIM), max_size=2)))
    head = b"HTTP/%b %d%b\r\n" % (version, status, reason) + b"".join(line + b"\r\n" for line in headers) + b"\r\n"
    return interim + head + body


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """An answer into which a few bytes were put, or of which some are missing."""
    data = draw(valid())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 10])))
        data = data[:start] + draw(st.sampled_from([b"", data[start:end] * 2, *SPICE])) + data[end:]
    return data


def judged(data: bytes, *, ends: bool) -> tuple[object, list[tuple[bytes, bytes]]]:
    """Return what h11 makes of an answer, and the headers that it reads."""
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    peer.send(h11.EndOfMessage())
    headers: list[tuple[bytes, bytes]] = []
    status, body = 0, b""
    for received in (*([data] if data else []), *([b""] if ends else [])):
        try:
            peer.receive_data(received)
            while True:
                event = peer.next_event()
                if isinstance(event, h11.Response):
                    status, headers = event.status_code, list(event.headers)
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return Read(status, body), headers
                elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    break
        except h11.RemoteProtocolError:
            return httpx.RemoteProtocolError, []
    return (httpx.RemoteProtocolError if ends else Outcome.WAITS), []


def lowered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers as h11 does: it makes a transfer coding's name small."""
    small = [(name.lower(), value) for name, value in headers]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in small]


def ours(data: bytes, *, ends: bool) -> Exchange:
    return exchanged([data], Then.CLOSES if ends else Then.STAYS)


def compare(data: bytes, *, ends: bool) -> None:
    exchange = ours(data, ends=ends)
    said, headers = judged(data, ends=ends)
    result = exchange.result()
    if isinstance(result, Read):
        assert isinstance(said, Read), "taken, and h11 refuses it"
        assert (result.status, result.body) == (said.status, said.body)
        assert lowered(exchange.connection.headers) == lowered(headers)
    elif result is httpx.RemoteProtocolError and isinstance(said, Read):
        reason = str(exchange.error)
        assert parser_refuses(data) or any(words in reason for words in STRICTER), f"h11 takes it: {reason}"


def parser_refuses(data: bytes) -> bool:
    """Return whether httptools itself is stricter: decision 21 says in what."""
    try:
        HttpResponseParser(object()).feed_data(data)
    except HttpParserError:
        return True
    return False


@examples(300)
@given(valid(), st.booleans())
def test_a_valid_answer_is_taken_as_h11_takes_it(data: bytes, ends: bool) -> None:
    said, _ = judged(data, ends=ends)
    result = ours(data, ends=ends).result()
    if data.count(b"HTTP/1.1 10") == 0:  # an interim answer never closes here
        assert isinstance(result, Read) == isinstance(said, Read)
    compare(data, ends=ends)


@examples(500)
@given(data=broken(), ends=st.booleans())
@example(data=b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", ends=False)
def test_h11_takes_what_is_taken_and_what_is_refused_is_refused_for_a_known_reason(data: bytes, ends: bool) -> None:
    compare(data, ends=ends)


@examples(300)
@given(st.one_of(valid(), broken()), st.booleans(), st.lists(st.integers(0, 200), max_size=6))
def test_no_cut_changes_the_result(data: bytes, ends: bool, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places) if start < end]
    cut = exchanged(pieces, Then.CLOSES if ends else Then.STAYS)
    whole = ours(data, ends=ends)
    assert cut.result() == whole.result()
    if isinstance(whole.result(), Read):
        assert cut.connection.headers == whole.connection.headers


@examples(300)
@given(valid(), st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from(SPICE)), st.booleans())
def test_after_an_answer_and_anything_more_the_connection_is_not_used_again(
    data: bytes, more: bytes, at_once: bool
) -> None:
    if isinstance(ours(data, ends=False).result(), Read):
        exchange = exchanged([data + more] if at_once else [data, more])
        result = exchange.result()
        assert isinstance(result, Read)
        assert not result.reusable


def test_h11_takes_no_answer_of_the_table_that_is_refused_but_for_a_known_reason() -> None:
    for answer in ANSWERS:
        if answer.then in (Then.STAYS, Then.CLOSES):
            compare(b"".join(answer.sent(b"{}")), ends=answer.then is Then.CLOSES)
