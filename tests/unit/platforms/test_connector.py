"""What all tenants share: a host has one breaker, and a sign-in's own host another one than the platform."""

from contextlib import suppress
from dataclasses import replace

import anyio
import httpx
import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import Unavailable
from adsyncd.model.profile import TokenRequest
from adsyncd.model.tenant import Platform
from support.scripted import Parts, connected

BUILT_IN = shipped_profile()
assert isinstance(BUILT_IN.sign_in, TokenRequest)
ELSEWHERE = replace(BUILT_IN, sign_in=replace(BUILT_IN.sign_in, url="https://id.invalid/token"))
PLATFORM = Platform("mixo", "http://ads.invalid", ELSEWHERE)


async def fail(parts: Parts, base_url: str) -> None:
    """List in vain until a breaker may open, which takes another client id that fails at the host, too."""
    passage = parts.connector._breaker(base_url).enter("globex")
    assert passage is not None
    with suppress(Unavailable), passage:
        raise Unavailable("down")
    for _ in range(11):
        await anyio.sleep(1)
        with pytest.raises(Unavailable):
            await parts.client.page(1)


async def test_an_outage_of_the_sign_in_s_host_opens_its_own_breaker_alone() -> None:
    down = [httpx.ConnectError("refused")] * 99
    async with connected(sign_ins=down, platform=PLATFORM, max_attempts=1) as parts:
        await fail(parts, "https://id.invalid")
        (trouble,) = parts.connector.open_breakers
        assert trouble.startswith("id.invalid: nothing but failures since")
        assert not parts.connector._breaker("http://ads.invalid").is_open
        parts.platform.sign_in_script.clear()
        assert (await parts.client.page(1)).number == 1
        assert parts.connector.open_breakers == []
    assert {request.url.host for request in parts.platform.sign_ins} == {"id.invalid"}
    assert {request.url.host for request in parts.platform.requests} == {"ads.invalid"}


async def test_an_outage_of_the_platform_keeps_no_one_from_signing_in() -> None:
    async with connected(*[httpx.Response(503)] * 99, platform=PLATFORM, max_attempts=1) as parts:
        await fail(parts, "http://ads.invalid")
        (trouble,) = parts.connector.open_breakers
        assert trouble.startswith("ads.invalid: nothing but failures since")
        sent = len(parts.platform.sign_ins)
        parts.platform.revoke_all()
        session = parts.client._session
        assert session._token is not None
        session.refuse(session._token, None)
        await parts.client._authority.authorized()
        assert len(parts.platform.sign_ins) == sent + 1


@pytest.mark.parametrize(
    "platform",
    [replace(PLATFORM, profile=BUILT_IN), replace(PLATFORM, sign_in_url="http://ads.invalid/login")],
    ids=["a path", "the same host"],
)
async def test_a_sign_in_at_the_platform_s_host_shares_its_breaker(platform: Platform) -> None:
    async with connected(sign_ins=[httpx.ConnectError("refused")] * 99, platform=platform, max_attempts=1) as parts:
        await fail(parts, "http://ads.invalid")
        (trouble,) = parts.connector.open_breakers
        assert trouble.startswith("ads.invalid: nothing but failures since")
        assert list(parts.connector._breakers) == ["ads.invalid"]
