import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mock_api.clients import ClientState, Verdict
from mock_api.gate import Gate, read_json
from mock_api.settings import Behaviour


class Api:
    """An API with one client id, and with words of its own for what is wrong."""

    def __init__(self) -> None:
        self.client = ClientState("acme", 0, Behaviour(quota_requests=4))

    def now(self) -> float:
        return 0.0

    def take(self, client: ClientState, now: float, cost: int) -> Verdict:
        return client.take(now, cost=cost)

    async def authorized(self, request: Request) -> ClientState:
        if "token" not in request.headers:
            raise HTTPException(401, "who?")
        return self.client

    def throttled(self, _behaviour: Behaviour, verdict: Verdict, _now: float) -> Response:
        return JSONResponse({"slower": verdict.wait_s})

    def failed(self, error: HTTPException) -> Response:
        return JSONResponse({"failed": error.detail})

    async def answer(self, client: ClientState, request: Request) -> Response:
        return JSONResponse({"got": await read_json(request), "for": client.id})


@pytest.fixture
def api() -> Api:
    return Api()


async def test_an_api_says_in_its_own_words_what_the_gate_refuses(api: Api) -> None:
    app = Starlette(routes=[Route("/", Gate(api, api, api.answer, lambda _: 2))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform") as http:
        token = {"token": "x"}
        answers = [
            await http.post("/", json=1),
            await http.post("/", json=1, headers=token),
            await http.post("/", content="{", headers=token),
            await http.post("/", json=1, headers=token),
        ]
    assert [answer.json() for answer in answers] == [
        {"failed": "who?"},
        {"got": 1, "for": "acme"},
        {"failed": "the body is not JSON"},
        {"slower": 60.0},
    ]
    book = api.client.book.as_json()
    assert (book["accepted"], book["refused"], book["largest_window"], book["peak_concurrency"]) == (2, 1, 4, 1)
