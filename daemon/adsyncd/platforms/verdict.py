"""What an answer means: success, or one of our errors, with the platform's words as far as they may be repeated."""

from http import HTTPStatus

import httpx

from adsyncd.errors import BadAnswer, PlatformError, Rejected, Unauthorized, Unavailable, Unconfirmed
from adsyncd.model.profile import Means, Profile, StaticToken
from adsyncd.platforms.call import Call
from adsyncd.platforms.wire import denied
from adsyncd.platforms.words import Secrets, words
from adsyncd.rate.feedback import matches

_ISSUED = "a token that it had just issued"
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def meaning(profile: Profile, status: int, data: object) -> Means | None:
    """Return what an answer means by the profile's rules; None if its status tells. `data`: the JSON of its body."""
    return next((answer.means for answer in profile.answers if matches(answer.rule, status, data)), None)


def refuses_token(answer: httpx.Response) -> bool:
    """Whether an answer says that the token is not good."""
    means = Call.of(answer).means
    return means is Means.SIGN_IN or (means is None and answer.status_code == HTTPStatus.UNAUTHORIZED)


def failure(answer: httpx.Response, profile: Profile, secrets: Secrets) -> PlatformError | None:
    """Return the error that an answer means; None for a success."""
    status, call = answer.status_code, Call.of(answer)
    told = f"the platform answered {status}"
    if refuses_token(answer):
        token = "the token in the credentials" if isinstance(profile.sign_in, StaticToken) else _ISSUED
        return Unauthorized(f"{told} to {token}{in_words(answer, secrets)}")
    if call.means is Means.LATER or (call.means is None and is_later(answer)):
        return Unavailable(f"{told}{in_words(answer, secrets)}", call.said.wait_s)
    if call.means is Means.REFUSED or status >= HTTPStatus.BAD_REQUEST:
        return Rejected(f"{told}{in_words(answer, secrets)}", status)
    return None if answer.is_success else BadAnswer(f"{told}, a status that its API does not have")


def accepted(answer: httpx.Response, profile: Profile, secrets: Secrets) -> httpx.Response:
    """Return a successful answer, as the profile expects it. Raises the error that any other answer means."""
    if error := failure(answer, profile, secrets):
        raise error
    if problem := _unexpected(answer, profile):
        data = Call.of(answer).data
        if isinstance(data, BadAnswer):
            raise data
        status = answer.status_code
        raise Rejected(f"the platform answered {status}, but {problem}{in_words(answer, secrets)}", status)
    return answer


def confirm(answer: httpx.Response, campaign_id: str, profile: Profile, secrets: Secrets) -> None:
    """Raise the error that an answer to a push means. A 2xx is a success unless its body denies it."""
    told = f"the platform answered {answer.status_code} to the push"
    call = Call.of(answer)
    if call.means is None and answer.status_code < HTTPStatus.BAD_REQUEST and not answer.is_success:
        raise Unconfirmed(f"{told}, a status that its API does not have")
    if error := failure(answer, profile, secrets):
        raise error
    if isinstance(call.data, BadAnswer) and answer.content.strip():
        raise Unconfirmed(f"{told}, but it can't be read: {call.data}")
    receipt = call.data if answer.content.strip() else None
    if denial := _unexpected(answer, profile) or denied(receipt, campaign_id, profile.push):
        raise Unconfirmed(f"{told}, but {denial}{in_words(answer, secrets)}")


def in_progress(answer: httpx.Response, timeout_s: float, secrets: Secrets) -> Unavailable:
    """Return the error of a 409 to a push that was sent before: the platform may still be processing it.

    Source: draft-ietf-httpapi-idempotency-key-header, 2.7. The wait is another `timeout_s` unless the platform states
    one, since the push takes longer than a request may.
    """
    told = f"the platform answered {answer.status_code} to a push that may be in progress"
    return Unavailable(f"{told}{in_words(answer, secrets)}", Call.of(answer).said.wait_s or timeout_s)


def is_later(answer: httpx.Response) -> bool:
    """Whether an answer calls for a retry: by its status, since a limit refused the request, or by a stated wait."""
    status, said = answer.status_code, Call.of(answer).said
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER or said.throttled:
        return True
    return answer.is_client_error and (said.wait_s is not None or "retry-after" in answer.headers)


def in_words(answer: httpx.Response, secrets: Secrets) -> str:
    """Return an answer's words as the end of an error message: ": words", or "" without any."""
    data = Call.of(answer).data
    if isinstance(data, BadAnswer) and answer.headers.get("content-type", "").startswith("text/plain"):
        data = {"message": answer.content.decode("utf-8", "replace")}
    shown = secrets.shown(words(data))
    return f": {shown}" if shown else ""


def _unexpected(answer: httpx.Response, profile: Profile) -> str | None:
    """Return how a success is not what the profile expects of each, or None if it is."""
    expect = profile.expect
    if expect is None or matches(expect, answer.status_code, Call.of(answer).data):
        return None
    return f"its {expect.path} is not what the profile {profile.name} expects of a success"
