import httpx
import pytest

from adsyncd.platforms.parts import Url, fill


@pytest.mark.parametrize("origin", ["http://ads.invalid", "https://ads.invalid:8443", "http://[::1]:81"])
@pytest.mark.parametrize(("path", "query"), [("/a/b%2Fc", None), ("/", "page=1&limit=10"), ("/%C3%A4", "")])
def test_a_url_is_what_httpx_makes_of_its_text(origin: str, path: str, query: str | None) -> None:
    parsed = httpx.URL(origin + path + ("" if query is None else f"?{query}"))
    made = Url(httpx.URL(f"{origin}/base?of=it"), path, query)
    assert (made, made.raw_path, made.netloc, made.raw_host) == (
        parsed,
        parsed.raw_path,
        parsed.netloc,
        parsed.raw_host,
    )
    assert httpx.Request("GET", made).url == parsed


async def test_an_answer_that_was_filled_is_read_and_closed() -> None:
    answer = httpx.Response(200, stream=httpx.ByteStream(b"unread"))
    fill(answer, b'{"a": 1}')
    assert (answer.content, answer.text, answer.json(), answer.is_closed) == (b'{"a": 1}', '{"a": 1}', {"a": 1}, True)
    assert await answer.aread() == b'{"a": 1}'
