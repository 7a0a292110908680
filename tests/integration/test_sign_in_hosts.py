"""A sign-in at a host of its own, over real sockets: one pool serves both, and each gets its own secrets alone."""

from typing import Any

import pytest

from adsyncd.model.tenant import Platform
from support.connected import connected
from support.spans import Spans, attributes
from support.two_hosts import SECRETS, TOKEN, two_hosts

BASIC = {"form": None, "basic": ("client_secret", "refresh_token")}
BY_GET = {"method": "GET", "form": None, "headers": (("x-refresh", "{secret.refresh_token}"),)}
JSON = {"form": None, "json": '{"secret":"{secret.client_secret}","refresh":"{secret.refresh_token}"}'}


@pytest.mark.parametrize("sign_in", [{}, BASIC, BY_GET, JSON], ids=["form", "Basic", "GET", "JSON"])
async def test_both_hosts_are_asked_on_connections_of_one_pool_and_no_span_holds_a_secret(
    sign_in: dict[str, Any],
) -> None:
    spans = Spans()
    async with two_hosts(**sign_in) as hosts:
        platform = Platform("mixo", hosts.platform.url, hosts.profile)
        account = hosts.account
        async with connected(hosts.platform.url, account=account, platform=platform, concurrency=1, spans=spans) as run:
            for number in range(1, 4):
                await run.client.page(number)
            run.client._session._refresh_at = 0.0  # as at the end of the token's life
            await run.client.page(4)
    assert (len(hosts.platform.peers), len(hosts.sign_in.peers)) == (1, 1)
    pages, sign_ins = hosts.read(hosts.platform), hosts.read(hosts.sign_in)
    assert (len(pages), len(sign_ins)) == (4, 2)
    for page in pages:
        assert f"Bearer {TOKEN}".encode() in page
        assert SECRETS["key"].encode() in page
        assert b"client" not in page.lower()
        assert b"refresh" not in page.lower()
    for one in sign_ins:
        assert TOKEN.encode() not in one
        assert SECRETS["key"].encode() not in one
    requests = [span for span in spans.all() if "url.full" in attributes(span)]
    assert {attributes(span)["url.full"] for span in requests} == {
        f"{hosts.platform.url}/api/campaigns",
        f"{hosts.sign_in.url}/token",
    }
    assert not [span.name for span in spans.all() if "canary" in span.to_json()]


@pytest.mark.parametrize("sign_in", [{}, {"url": "http://127.0.0.1:1/token"}])
async def test_a_probe_is_one_trace_with_a_span_that_fails_if_it_does(sign_in: dict[str, Any]) -> None:
    spans = Spans()
    async with two_hosts(**sign_in) as hosts:
        platform = Platform("mixo", hosts.platform.url, hosts.profile)
        async with connected(hosts.platform.url, account=hosts.account, platform=platform, spans=spans) as run:
            probe = await run.client.probe()
    [root] = spans.named("platform.probe")
    assert root.parent is None
    assert {(span.context and span.context.trace_id) for span in spans.all()} == {
        root.context and root.context.trace_id
    }
    assert {attributes(span)["adsyncd.tenant"] for span in spans.all()} == {"acme"}
    assert attributes(root).get("error.type") == probe.failed == ("sign-in" if sign_in else None)
    assert (root.status.description or None) == probe.error


async def test_a_sign_in_s_host_that_is_down_is_named_and_the_platform_is_not_asked() -> None:
    async with two_hosts(url="http://127.0.0.1:1/token") as hosts:
        platform = Platform("mixo", hosts.platform.url, hosts.profile)
        async with connected(hosts.platform.url, account=hosts.account, platform=platform, max_attempts=1) as run:
            assert str(await run.failed()).startswith("no connection to 127.0.0.1:1: ")
    assert hosts.read(hosts.platform) == []
