"""A client that has an answer already gets no second copy of it."""

import httpx
import pytest

from support.control import Inside, tell


async def test_an_answer_that_is_as_it_was_is_not_sent_again(inside: Inside, api: httpx.AsyncClient) -> None:
    first = await api.get("/v1/tenants?limit=1")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-store"  # no cache of a browser keeps it
    again = await api.get("/v1/tenants?limit=1", headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["link"] == first.headers["link"]
    await inside.commands.pause("acme")
    changed = await api.get("/v1/tenants?limit=1", headers={"if-none-match": tag})
    assert (changed.status_code, changed.json()[0]["state"]) == (200, "paused")


@pytest.mark.parametrize(("known", "status"), [("*", 304), ("", 200), ('"x"', 200), (", ,", 200)])
async def test_only_the_tag_of_this_answer_counts(api: httpx.AsyncClient, known: str, status: int) -> None:
    assert (await api.get("/v1/health", headers={"if-none-match": known})).status_code == status


async def test_a_refusal_and_a_command_have_no_tag(api: httpx.AsyncClient) -> None:
    assert "etag" not in (await api.get("/v1/tenants/hooli")).headers
    assert "etag" not in (await tell(api, "/v1/tenants/acme/pause")).headers
