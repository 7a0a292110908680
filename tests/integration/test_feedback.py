"""What the mock platform says of its quotas, in each form, is what the daemon understands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import JsonValue

from adsyncd.config.profile_file import shipped_profile
from adsyncd.rate.feedback import Limit, Said, read
from mock_api.app import create_app
from mock_api.settings import RateLimitForm, RetryAfter

META = shipped_profile("meta").dialect
START = 1_800_000_000.25
ALGORITHM = pytest.mark.parametrize("algorithm", ["sliding-log", "fixed-window", "token-bucket", "window-counter"])
COUNTING = [form for form in RateLimitForm if form not in {RateLimitForm.OFF, RateLimitForm.META_USAGE}]


class Listener:
    """Lists campaigns as `acme` and says what it understood."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.at = START

    async def listen(self) -> tuple[int, Said]:
        answer = await self.http.get("/api/campaigns")
        now = datetime.fromtimestamp(self.at, UTC)
        return answer.status_code, read(answer.status_code, answer.headers, answer.json(), now, META)


@asynccontextmanager
async def platform(shared: int = 0, **everyone: JsonValue) -> AsyncIterator[Listener]:
    usual: dict[str, JsonValue] = {"list_503": 0, "list_hang": 0, "quota_requests": 4, "retry_after": "absent"}
    document: dict[str, JsonValue] = {
        "accounts": {"acme@example.com": {"password": "pw", "clients": ["acme"]}},
        "everyone": usual | everyone,
        "platform_quota_requests": shared,
    }
    listener: Listener
    app = create_app(document, lambda: listener.at)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform") as http:
        listener = Listener(http)
        token = (await http.post("/auth/token", auth=("acme@example.com", "pw"))).json()["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "X-Client-ID": "acme"})
        yield listener


@pytest.mark.parametrize("form", COUNTING)
@ALGORITHM
async def test_counters_are_understood_in_every_form_and_by_every_way_of_counting(
    form: RateLimitForm, algorithm: str
) -> None:
    async with platform(ratelimit_headers=form, algorithm=algorithm) as listener:
        left, understood = 4, []
        for step in range(6):
            listener.at = START + step
            status, said = await listener.listen()
            left -= status == 200
            [limit] = said.limits
            understood.append(limit.remaining)
            assert limit.requests == 4
            assert limit.window_s == (60 if form in {RateLimitForm.IETF, RateLimitForm.IETF_OLD} else None)
            assert said.throttled is (status == 429)
        assert understood == [3, 2, 1, 0, 0, 0]
        assert limit.reset_s is not None
        listener.at += limit.reset_s
        assert (await listener.listen())[0] == 200


@pytest.mark.parametrize("form", COUNTING)
async def test_a_reset_is_the_same_instant_in_every_form(form: RateLimitForm) -> None:
    async with platform(ratelimit_headers=form) as listener:
        await listener.listen()
        listener.at += 17.5
        _, said = await listener.listen()
        [limit] = said.limits
        assert limit.reset_s is not None
        assert 42.5 <= limit.reset_s <= 43.5


async def test_each_window_is_understood_where_the_form_tells_of_each() -> None:
    further: list[JsonValue] = [{"requests": 20, "window_s": 3600}]
    async with platform(ratelimit_headers="ietf", quotas=further) as listener:
        assert (await listener.listen())[1].limits == (Limit(3, 60, 4, 60), Limit(19, 3600, 20, 3600))
    async with platform(ratelimit_headers="ietf-old", quotas=further) as listener:
        assert (await listener.listen())[1].limits == (Limit(3, 60, 4, 60), Limit(requests=20, window_s=3600))


async def test_usage_is_understood_and_after_a_refusal_the_wait() -> None:
    async with platform(ratelimit_headers="meta-usage", shared=100, throttle_status=400) as listener:
        assert (await listener.listen())[1].limits == (Limit(used=0.01), Limit(None, 60, used=0.25), Limit(used=0.25))
        for _ in range(3):
            await listener.listen()
        status, said = await listener.listen()
        assert (status, said.throttled, said.wait_s) == (400, True, 60)
        assert {limit.used for limit in said.limits} == {0.04, 1}


@pytest.mark.parametrize("form", RetryAfter)
async def test_the_wait_after_a_refusal_is_understood_in_every_form(form: RetryAfter) -> None:
    async with platform(retry_after=form, quota_requests=1) as listener:
        await listener.listen()
        listener.at += 17.5
        status, said = await listener.listen()
        assert (status, said.throttled) == (429, True)
        match form:
            case RetryAfter.ABSENT:
                assert said.wait_s is None
            case RetryAfter.BODY:
                assert said.wait_s == 42.5
            case RetryAfter.SECONDS | RetryAfter.DATE:
                assert said.wait_s is not None
                assert 42.5 <= said.wait_s < 43.5


@pytest.mark.parametrize(("shared", "quota"), [(0, 1), (1, 4)])
async def test_a_refusal_with_status_400_is_understood_for_both_quotas(shared: int, quota: int) -> None:
    async with platform(shared, quota_requests=quota, throttle_status=400) as listener:
        assert (await listener.listen())[1] == Said()
        assert await listener.listen() == (400, Said(throttled=True))


async def test_a_platform_that_says_nothing_is_understood_to_say_nothing() -> None:
    async with platform() as listener:
        assert await listener.listen() == (200, Said())
