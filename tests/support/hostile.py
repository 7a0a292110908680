"""What platforms may answer that mean harm, are broken or are odd: bytes in time, and how the peer ends.

In the bytes of an answer, `<body>` stands for the body that an honest platform would send, `<size>` for its length,
`<hex>` for the same as a chunk's size, and `<chunks>` for the body in chunks of one byte.
"""

from dataclasses import dataclass
from enum import Enum, auto

import httpx


class Then(Enum):
    """What the peer does after its last piece."""

    STAYS = auto()
    CLOSES = auto()
    HALF_CLOSES = auto()  # it goes on reading
    RESETS = auto()
    ENDLESSLY = auto()  # it sends its last piece again and again, as fast as that is read
    DRIPS = auto()  # it sends its last piece again and again, and slowly


class Outcome(Enum):
    """What becomes of an answer that is neither read nor refused."""

    WAITS = auto()  # for the rest of the answer; the deadline of the request ends that


@dataclass(frozen=True, slots=True)
class Read:
    """The answer is read. `body`: as the templates have it. `reusable`: whether another request may follow."""

    status: int = 200
    body: bytes = b"<body>"
    reusable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `gives`: what a connection makes of it; an error is one of httpx's.

    `early`: it is sent before the request is read. `by_chance`: what is last may come in time for the next request.
    """

    name: str
    pieces: tuple[bytes, ...]
    gives: Read | type[httpx.TransportError] | Outcome = httpx.RemoteProtocolError
    then: Then = Then.STAYS
    early: bool = False
    by_chance: bool = False

    def sent(self, body: bytes) -> list[bytes]:
        """Return the pieces with a body."""
        return [filled(piece, body) for piece in self.pieces]

    def is_good(self, kind: str) -> bool:
        """Whether it answers a request of this kind as an honest platform may; an empty 2xx confirms a push."""
        if not isinstance(self.gives, Read) or b"Content-Encoding" in b"".join(self.pieces):
            return False
        answers = [(200, b"<body>"), *([(204, b"")] if kind == "push" else [])]
        return (self.gives.status, self.gives.body) in answers


def filled(template: bytes, body: bytes) -> bytes:
    """Return the bytes that a template stands for."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    for name, value in ((b"<chunks>", chunks), (b"<size>", b"%d" % len(body)), (b"<hex>", b"%x" % len(body))):
        template = template.replace(name, value)
    return template.replace(b"<body>", body)


LINE = b"HTTP/1.1 200 OK\r\n"
SIZED = LINE + b"Content-Length: <size>\r\n\r\n"
PLAIN = SIZED + b"<body>"
CODED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED = CODED + b"<hex>\r\n<body>\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ONCE = Read(reusable=False)
RESET = httpx.ReadError
WAITS = Outcome.WAITS


def sized(value: bytes, body: bytes = b"<body>") -> bytes:
    return LINE + b"Content-Length: " + value + b"\r\n\r\n" + body


def coded(value: bytes, body: bytes = b"<hex>\r\n<body>\r\n0\r\n\r\n") -> bytes:
    return LINE + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body


def with_header(header: bytes) -> bytes:
    return LINE + header + b"\r\nContent-Length: <size>\r\n\r\n<body>"


def with_line(line: bytes) -> bytes:
    return PLAIN.replace(LINE, line)


SOUND = [
    Answer("plain", (PLAIN,), Read()),
    Answer("in three segments", (LINE, b"Content-Length: <size>\r\n\r", b"\n<body>"), Read()),
    Answer("chunked", (CHUNKED,), Read()),
    Answer("chunked, a segment each", (CODED, b"<hex>\r", b"\n<body>", b"\r\n0\r\n", b"\r\n"), Read()),
    Answer("chunks of one byte", (CODED + b"<chunks>0\r\n\r\n",), Read()),
    Answer("a chunk's size with zeros", (CODED + b"000<hex>\r\n<body>\r\n0\r\n\r\n",), Read()),
    Answer("chunk extensions", (CODED + b'<hex>;a=b;c="d e"\r\n<body>\r\n0;last\r\n\r\n',), Read()),
    Answer("trailers", (CODED + b"<hex>\r\n<body>\r\n0\r\nX-Sum: 1\r\nX-Time: 2\r\n\r\n",), Read()),
    Answer("an interim answer", (CONTINUE + PLAIN,), Read()),
    Answer("early hints in a segment of their own", (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", PLAIN), Read()),
    Answer("sixteen interim answers", (CONTINUE * 16 + PLAIN,), Read()),
    Answer("no reason", (with_line(b"HTTP/1.1 200\r\n"),), Read()),
    Answer("a header without a value", (with_header(b"X-Empty:"),), Read()),
    Answer("an upgrade offered", (with_header(b"Upgrade: h2c\r\nConnection: Upgrade"),), Read()),
    Answer("HTTP/1.0 that is kept", (with_line(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"),), Read()),
    Answer("HTTP/1.0 until closed", (b"HTTP/1.0 200 OK\r\n\r\n<body>",), ONCE, Then.CLOSES),
    Answer("HTTP/1.1 until half-closed", (LINE + b"\r\n", b"<body>"), ONCE, Then.HALF_CLOSES),
    Answer("HTTP/1.0, chunked", (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED[len(LINE) :],), ONCE),
    Answer("compressed", (with_header(b"Content-Encoding: gzip"),), Read()),
    Answer("204 with a length", (b"HTTP/1.1 204 Nothing\r\nContent-Length: 7\r\n\r\n",), Read(204, b"")),
]
MORE = [
    Answer("a second answer in the same segment", (PLAIN + PLAIN,), ONCE),
    Answer("a second answer in the next segment", (PLAIN, PLAIN), ONCE, by_chance=True),
    Answer("half a second answer", (PLAIN + LINE,), ONCE),
    Answer("a byte too many", (PLAIN + b"x",), ONCE),
    Answer("an empty line too many", (PLAIN + b"\r\n",), ONCE),
    Answer("an empty line after chunks", (CHUNKED + b"\r\n",), ONCE),
    Answer("a length too short", (sized(b"1"),), Read(200, b"{", reusable=False)),
    Answer(
        "204 with a body", (b"HTTP/1.1 204 No\r\nContent-Length: <size>\r\n\r\n<body>",), Read(204, b"", reusable=False)
    ),
    Answer(
        "304 with a body",
        (b"HTTP/1.1 304 Same\r\nContent-Length: <size>\r\n\r\n<body>",),
        Read(304, b"", reusable=False),
    ),
    Answer("closes, and stays open", (with_header(b"Connection: close"),), ONCE),
    Answer("is kept, and closes", (with_header(b"Connection: keep-alive"),), ONCE, Then.CLOSES, by_chance=True),
    Answer("is kept, and resets", (with_header(b"Connection: keep-alive"),), ONCE, Then.RESETS, by_chance=True),
    Answer("before the request is read", (PLAIN,), WAITS, early=True, by_chance=True),
]
FRAMING = [
    Answer("a length too long, then closed", (sized(b"1000"),), then=Then.CLOSES),
    Answer("a length too long, then half-closed", (sized(b"1000"),), then=Then.HALF_CLOSES),
    Answer("a length of a million gigabytes", (sized(b"1" + b"0" * 15),), WAITS),
    Answer("a length beyond 64 bits", (sized(b"1" + b"0" * 30),)),
    Answer("two equal lengths", (sized(b"<size>\r\nContent-Length: <size>"),)),
    Answer("two lengths", (sized(b"<size>\r\nContent-Length: 1"),)),
    Answer("a list of lengths", (sized(b"<size>, <size>"),)),
    Answer("a negative length", (sized(b"-<size>"),)),
    Answer("a length with a plus", (sized(b"+<size>"),)),
    Answer("an empty length", (sized(b""),)),
    Answer("a length in hex", (sized(b"0x<hex>"),)),
    Answer("a length with an underscore", (sized(b"1_0"),)),
    Answer("a length and chunks", (sized(b"<size>\r\nTransfer-Encoding: chunked", CHUNKED[len(CODED) :]),)),
    Answer("chunks and a length", (coded(b"chunked\r\nContent-Length: <size>"),)),
    Answer("chunked twice", (coded(b"chunked\r\nTransfer-Encoding: chunked"),)),
    Answer("gzip until closed", (coded(b"gzip", b"<body>"),), then=Then.CLOSES),
    Answer("gzip, chunked", (coded(b"gzip, chunked"),)),
    Answer("chunked, gzip", (coded(b"chunked, gzip"),)),
    Answer("identity", (coded(b"identity", b"<body>"),), then=Then.CLOSES),
    Answer("xchunked", (coded(b"xchunked"),), then=Then.CLOSES),
    Answer("a negative chunk", (CODED + b"-<hex>\r\n<body>\r\n0\r\n\r\n",)),
    Answer("a chunk beyond 64 bits", (CODED + b"f" * 17 + b"\r\n<body>",)),
    Answer("a chunk of a billion gigabytes", (CODED + b"f" * 15 + b"\r\n<body>",), WAITS),
    Answer("a chunk's size with an underscore", (CODED + b"1_0\r\n<body>\r\n0\r\n\r\n",)),
    Answer("a chunk's size with 0x", (CODED + b"0x<hex>\r\n<body>\r\n0\r\n\r\n",)),
    Answer("a space before a chunk's size", (CODED + b" <hex>\r\n<body>\r\n0\r\n\r\n",)),
    Answer("a chunk without a size", (CODED + b"\r\n<body>\r\n0\r\n\r\n",)),
    Answer("a chunk longer than its size", (CODED + b"1\r\n<body>\r\n0\r\n\r\n",)),
    Answer("bare line feeds between chunks", (CODED + b"<hex>\n<body>\n0\n\n",)),
    Answer("closed in a chunk", (CODED + b"1000\r\n<body>",), then=Then.CLOSES),
    Answer("closed before the last chunk", (CODED + b"<hex>\r\n<body>\r\n",), then=Then.CLOSES),
    Answer("a length among the trailers", (CODED + b"<hex>\r\n<body>\r\n0\r\nContent-Length: 1\r\n\r\n",)),
    Answer("an interim answer with a length", (b"HTTP/1.1 104 X\r\nContent-Length: <size>\r\n\r\n<body>" + PLAIN,)),
    Answer("an interim answer with chunks", (CHUNKED.replace(b"200 OK", b"103 Early") + PLAIN,)),
    Answer("an interim answer that closes", (b"HTTP/1.1 100 X\r\nConnection: close\r\n\r\n" + PLAIN,)),
    Answer("another protocol", (b"HTTP/1.1 101 Bye\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + PLAIN,)),
    Answer("seventeen interim answers", (CONTINUE * 17 + PLAIN,)),
]
LINES = [
    Answer("bare line feeds", (PLAIN.replace(b"\r", b""),)),
    Answer("bare carriage returns", (PLAIN.replace(b"\n", b""),)),
    Answer("a folded header", (with_header(b"X: a\r\n b"),)),
    Answer("a space before a colon", (with_header(b"X : a"),)),
    Answer("a space before the first header", (with_header(b" X: a"),)),
    Answer("a header without a colon", (with_header(b"X"),)),
    Answer("a header without a name", (with_header(b": x"),)),
    Answer("NUL in a header", (with_header(b"X: a\0b"),)),
    Answer("NUL in a header's name", (with_header(b"X\0: a"),)),
    Answer("a control character in a header", (with_header(b"X: \x1b[2J"),)),
    Answer("a control character in the reason", (with_line(b"HTTP/1.1 200 \x1b[2J\r\n"),)),
    Answer("an empty line first", (b"\r\n" + PLAIN,)),
    Answer("no head", (b"<body>",), then=Then.CLOSES),
    Answer("HTTP/0.9", (with_line(b"HTTP/0.9 200 OK\r\n"),)),
    Answer("HTTP/2.0", (with_line(b"HTTP/2.0 200 OK\r\n"),)),
    Answer("HTTP/1.2", (with_line(b"HTTP/1.2 200 OK\r\n"),)),
    Answer("HTTP/2's first frame", (b"\0\0\x12\x04\0\0\0\0\0" + b"\0" * 18,)),
    Answer("RTSP", (with_line(b"RTSP/1.0 200 OK\r\n"),)),
    Answer("RTSP after an interim answer", (CONTINUE + with_line(b"RTSP/1.0 200 OK\r\n"),)),
    Answer("ICY", (with_line(b"ICY 200 OK\r\n"),)),
    Answer("ICE", (with_line(b"ICE/1.0 200 OK\r\n"),)),
    Answer("http in small letters", (with_line(b"http/1.1 200 OK\r\n"),)),
    Answer("a status of two digits", (with_line(b"HTTP/1.1 20 OK\r\n"),)),
    Answer("a status of four digits", (with_line(b"HTTP/1.1 2000 OK\r\n"),)),
    Answer("a status below 100", (with_line(b"HTTP/1.1 099 Low\r\n"),)),
    Answer("two spaces before the status", (with_line(b"HTTP/1.1  200 OK\r\n"),)),
    Answer("garbage", (b"\xff\xfe\0garbage" * 20,)),
    Answer("another protocol's banner", (b"SSH-2.0-OpenSSH_9.2\r\n",)),
    Answer("a TLS alert", (b"\x15\x03\x01\0\x02\x02\x50",)),
]
ENDS = [
    Answer("closed without an answer", (), then=Then.CLOSES),
    Answer("half-closed without an answer", (), then=Then.HALF_CLOSES),
    Answer("reset without an answer", (), RESET, Then.RESETS),
    Answer("closed in the head", (LINE,), then=Then.CLOSES),
    Answer("half-closed in the head", (LINE,), then=Then.HALF_CLOSES),
    Answer("reset in the head", (LINE,), RESET, Then.RESETS),
    Answer("reset after the head", (SIZED,), RESET, Then.RESETS),
    Answer("reset in a body until closed", (LINE + b"\r\n<body>",), RESET, Then.RESETS),
    Answer("closed before the request is read", (), then=Then.CLOSES, early=True),
    Answer("silence", (), WAITS),
    Answer("silence after the head", (SIZED,), WAITS),
    Answer("a head that drips", (LINE + b"X: ", b"y"), WAITS, Then.DRIPS),
    Answer("a body that drips", (sized(b"100000"), b" "), WAITS, Then.DRIPS),
    Answer("interim answers that drip", (CONTINUE,), WAITS, Then.DRIPS),
]
ENDLESS = [
    Answer("endless chunks of one byte", (CODED, b"1\r\nx\r\n" * 10_000), then=Then.ENDLESSLY),
    Answer("endless chunk extensions", (CODED, b"1;a=b;c=d\r\nx\r\n" * 5_000), then=Then.ENDLESSLY),
    Answer("an endless chunk extension", (CODED + b"1;", b"a=b;" * 10_000), then=Then.ENDLESSLY),
    Answer("an endless quoted extension", (CODED + b'1;a="', b"b" * 50_000), then=Then.ENDLESSLY),
    Answer("an endless chunk's size", (CODED, b"0" * 50_000), then=Then.ENDLESSLY),
    Answer("endless trailers", (CODED + b"0\r\n", b"a: b\r\n" * 10_000), then=Then.ENDLESSLY),
    Answer("an endless trailer", (CODED + b"0\r\na: ", b"b" * 50_000), then=Then.ENDLESSLY),
    Answer("endless headers", (LINE, b"a: b\r\n" * 10_000), then=Then.ENDLESSLY),
    Answer("an endless header", (LINE + b"a: ", b"b" * 50_000), then=Then.ENDLESSLY),
    Answer("an endless header's name", (LINE, b"a" * 50_000), then=Then.ENDLESSLY),
    Answer("an endless reason", (b"HTTP/1.1 200 ", b"b" * 50_000), then=Then.ENDLESSLY),
    Answer("endless empty lines", (b"\r\n" * 25_000,), then=Then.ENDLESSLY),
    Answer("endless interim answers", (CONTINUE * 2_000,), then=Then.ENDLESSLY),
    Answer("endless interim answers, one in a segment", (CONTINUE,), then=Then.ENDLESSLY),
    Answer("endless answers", (PLAIN * 1_000,), ONCE, Then.ENDLESSLY, by_chance=True),
    Answer("an endless body", (LINE + b"\r\n", b" " * 50_000), WAITS, Then.ENDLESSLY),
    Answer("an endless body in large chunks", (CODED, b"c350\r\n" + b" " * 50_000 + b"\r\n"), WAITS, Then.ENDLESSLY),
    Answer("endless chunks of five bytes", (CODED, b"5\r\n     \r\n" * 5_000), WAITS, Then.ENDLESSLY),
    Answer("an endless error", (b"HTTP/1.1 500 X\r\n\r\n", b" " * 50_000), WAITS, Then.ENDLESSLY),
]
ANSWERS = [*SOUND, *MORE, *FRAMING, *LINES, *ENDS, *ENDLESS]
