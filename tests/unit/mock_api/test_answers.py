import json
from email.utils import parsedate_to_datetime

import pytest
from starlette.responses import JSONResponse, Response

from mock_api.answers import instead, spoilt, throttled
from mock_api.clients import Verdict
from mock_api.faults import FaultKind
from mock_api.meters import MeteredQuota, Reading
from mock_api.settings import Behaviour, RetryAfter

NOW = 1_800_000_000.5
ANSWER = JSONResponse({"success": True, "count": 3, "data": [{"budget": 1.5}], "name": None})


REFUSAL = Verdict(accepted=False, windows=(Reading(MeteredQuota(10, 60), 0, 1.2345, lacks=True),))


def refusal(form: RetryAfter) -> tuple[str | None, float | None]:
    answer = throttled(Behaviour(retry_after=form), REFUSAL, NOW)
    assert answer.status_code == 429
    return answer.headers.get("retry-after"), json.loads(bytes(answer.body)).get("retry_after")


def test_a_429_says_when_to_come_again_in_the_form_that_is_set_and_never_too_early() -> None:
    assert refusal(RetryAfter.BODY) == (None, 1.235)
    assert refusal(RetryAfter.SECONDS) == ("2", 1.235)
    assert refusal(RetryAfter.ABSENT) == (None, None)
    date, _ = refusal(RetryAfter.DATE)
    assert date is not None
    assert parsedate_to_datetime(date).timestamp() == 1_800_000_002


def test_a_refusal_may_be_a_400_with_the_code_of_meta_for_whose_quota_is_used_up() -> None:
    behaviour = Behaviour(throttle_status=400, retry_after=RetryAfter.SECONDS)
    room, full = Reading(MeteredQuota(10, 60), 3, 1), Reading(MeteredQuota(20, 60), 0, 1.2345, lacks=True)
    for verdict, code in ((REFUSAL, 80_004), (Verdict(accepted=False, windows=(room,), platform=full), 4)):
        answer = throttled(behaviour, verdict, NOW)
        assert (answer.status_code, answer.headers["retry-after"]) == (400, "2")
        error = json.loads(bytes(answer.body))["error"]
        assert (error["code"], error["type"]) == (code, "OAuthException")


INSTEAD = {
    FaultKind.UNAVAILABLE: 503,
    FaultKind.UNAUTHORIZED: 401,
    FaultKind.HTML: 200,
    FaultKind.REDIRECT: 307,
    FaultKind.HUGE: 200,
}


@pytest.mark.parametrize(("fault", "status"), INSTEAD.items())
def test_some_faults_come_instead_of_an_answer(fault: FaultKind, status: int) -> None:
    answer = instead(fault, "http://elsewhere.invalid")
    assert answer is not None
    assert answer.status_code == status
    assert answer.headers.get("location") == ("http://elsewhere.invalid" if fault is FaultKind.REDIRECT else None)


@pytest.mark.parametrize("fault", sorted(set(FaultKind) - INSTEAD.keys()))
def test_the_other_faults_leave_the_request_to_be_served(fault: FaultKind) -> None:
    assert instead(fault, "") is None


def test_a_malformed_answer_ends_in_the_middle_of_its_json() -> None:
    answer = spoilt(FaultKind.MALFORMED, ANSWER)
    assert answer.headers["content-length"] == str(len(answer.body))
    with pytest.raises(json.JSONDecodeError):
        json.loads(bytes(answer.body))


def test_an_answer_of_wrong_types_has_the_right_names_and_no_number_boolean_or_list() -> None:
    answer: Response = spoilt(FaultKind.WRONG_TYPES, ANSWER)
    body = json.loads(bytes(answer.body))
    assert body == {"success": "True or so", "count": "3 or so", "data": {"0": {"budget": "1.5 or so"}}, "name": None}


def test_without_a_fault_the_answer_is_untouched() -> None:
    assert spoilt(FaultKind.NONE, ANSWER) is ANSWER
