"""What an answer means: success, or one of our errors, with the platform's words as far as they may be repeated."""

from http import HTTPStatus

import httpx

from adsyncd.errors import BadAnswer, Rejected, Unauthorized, Unavailable, Unconfirmed
from adsyncd.platforms.call import Call
from adsyncd.platforms.wire import denied
from adsyncd.platforms.words import Secrets, words

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def accepted(answer: httpx.Response, secrets: Secrets) -> httpx.Response:
    """Return a successful answer. Raises the error that any other answer means."""
    status = answer.status_code
    if answer.is_success:
        return answer
    told = f"the platform answered {status}"
    if status == HTTPStatus.UNAUTHORIZED:
        raise Unauthorized(f"{told} to a token that it had just issued{in_words(answer, secrets)}")
    if is_later(answer):
        raise Unavailable(f"{told}{in_words(answer, secrets)}", Call.of(answer).said.wait_s)
    if status >= HTTPStatus.BAD_REQUEST:
        raise Rejected(f"{told}{in_words(answer, secrets)}", status)
    raise BadAnswer(f"{told}, a status that its API does not have")


def confirm(answer: httpx.Response, campaign_id: str, secrets: Secrets) -> None:
    """Raise the error that an answer to a push means. A 2xx is a success unless its body denies it."""
    told = f"the platform answered {answer.status_code} to the push"
    if answer.status_code < HTTPStatus.BAD_REQUEST and not answer.is_success:
        raise Unconfirmed(f"{told}, a status that its API does not have")
    data = Call.of(accepted(answer, secrets)).data
    if not answer.content.strip():
        return
    if isinstance(data, BadAnswer):
        raise Unconfirmed(f"{told}, but it can't be read: {data}")
    if denial := denied(data, campaign_id):
        raise Unconfirmed(f"{told}, but {denial}{in_words(answer, secrets)}")


def in_progress(answer: httpx.Response, timeout_s: float, secrets: Secrets) -> Unavailable:
    """Return the error of a 409 to a push that was sent before: the platform may still be processing it.

    Source: draft-ietf-httpapi-idempotency-key-header, 2.7. The wait is another `timeout_s` unless the platform states
    one, since the push takes longer than a request may.
    """
    told = f"the platform answered {answer.status_code} to a push that may be in progress"
    return Unavailable(f"{told}{in_words(answer, secrets)}", Call.of(answer).said.wait_s or timeout_s)


def is_later(answer: httpx.Response) -> bool:
    """Whether a failure calls for a retry: by its status, or by the wait that it states."""
    status, said = answer.status_code, Call.of(answer).said
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        return True
    return answer.is_client_error and (said.wait_s is not None or "retry-after" in answer.headers)


def in_words(answer: httpx.Response, secrets: Secrets) -> str:
    """Return an answer's words as the end of an error message: ": words", or "" without any."""
    data = Call.of(answer).data
    if isinstance(data, BadAnswer) and answer.headers.get("content-type", "").startswith("text/plain"):
        data = {"message": answer.content.decode("utf-8", "replace")}
    shown = secrets.shown(words(data))
    return f": {shown}" if shown else ""
