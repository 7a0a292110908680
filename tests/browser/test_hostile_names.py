"""What strangers wrote is text: in names of campaigns, and in reasons that a platform gives."""

from support.chromium import Watched
from support.watched_world import SCRIPT


async def test_the_api_s_answers_are_no_pages_to_a_browser(visit: Watched) -> None:
    answer = await visit.page.goto("/v1/dead-letters")
    assert answer
    assert answer.headers["content-type"] == "application/json"
    assert SCRIPT in await visit.page.inner_text("body")
