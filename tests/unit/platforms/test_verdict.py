import httpx
import pytest
from pydantic import SecretStr

from adsyncd.errors import BadAnswer, PlatformError, Rejected, Unauthorized, Unavailable, Unconfirmed
from adsyncd.platforms.transport import DATA, SAID
from adsyncd.platforms.verdict import accepted, confirm, in_progress, is_later
from adsyncd.platforms.words import Secrets
from adsyncd.rate.feedback import Said

WORDS = {"error": "Oh", "message": "no"}


def answer(status: int, data: object = None, *, wait_s: float | None = None, **more: object) -> httpx.Response:
    """An answer as the transport hands it over."""
    extensions = {SAID: Said(wait_s), DATA: data}
    return httpx.Response(status, extensions=extensions, **{"content": b"{}", **more})  # type: ignore[arg-type]  # a Response's


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, Rejected) for status in (400, 402, 403, 404, 405, 409, 410, 422, 451, 499)),
        *((status, Unavailable) for status in (408, 423, 425, 429, 500, 501, 502, 503, 504, 529, 599)),
        (401, Unauthorized),
        *((status, BadAnswer) for status in (300, 304, 399)),
    ],
)
def test_each_status_means_what_may_be_done_about_it(status: int, error: type[PlatformError]) -> None:
    with pytest.raises(PlatformError) as raised:
        accepted(answer(status, WORDS), Secrets())
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"the platform answered {status}")
    assert str(raised.value).endswith(": Oh no") == (status >= 400)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_with_a_wait_asks_to_be_tried_again_after_it(status: int) -> None:
    with pytest.raises(Unavailable) as later:
        accepted(answer(status, wait_s=7), Secrets())
    assert later.value.after_s == 7
    assert is_later(answer(status, headers={"Retry-After": "0"}))
    assert not is_later(answer(status))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_a_yes(status: int) -> None:
    assert accepted(answer(status), Secrets()).status_code == status
    confirm(answer(status, BadAnswer("not JSON"), content=b" \n"), "cmp-1", Secrets())
    confirm(answer(status, {"success": True, "campaign_id": "cmp-1"}), "cmp-1", Secrets())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BadAnswer("a page"), "the platform answered 200 to the push, but it can't be read: a page"),
        (
            {"success": False} | WORDS,
            "200 to the push, but it says that this was no success: Oh no",
        ),
        ({"success": False, "message": "not token-4711"}, "but it says that this was no success"),
        ({"campaign_id": "cmp-2"}, "but it is the receipt of another campaign"),
    ],
)
def test_a_success_whose_body_denies_it_is_none(data: object, said: str) -> None:
    secrets = Secrets()
    secrets.learn(SecretStr("token-4711"))
    with pytest.raises(Unconfirmed) as denied:
        confirm(answer(200, data), "cmp-1", secrets)
    assert str(denied.value).endswith(said)


def test_what_is_in_progress_is_given_as_long_as_a_request_unless_the_platform_says_how_long() -> None:
    assert in_progress(answer(409), 10, Secrets()).after_s == 10
    assert in_progress(answer(409, wait_s=3), 10, Secrets()).after_s == 3
