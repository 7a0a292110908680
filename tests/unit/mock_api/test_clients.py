import pytest

from mock_api.clients import ClientState
from mock_api.faults import FaultKind
from mock_api.meters import Algorithm, MeteredQuota, meter
from mock_api.settings import Behaviour, FurtherQuota

RATES = ((FaultKind.UNAVAILABLE, 0.5),)


@pytest.mark.parametrize(("honoured", "key", "effects"), [(True, "key", 1), (False, "key", 2), (True, "", 2)])
def test_a_repeated_key_has_no_second_effect_and_the_first_answer_where_keys_are_honoured(
    honoured: bool, key: str, effects: int
) -> None:
    client = ClientState("acme", 0, Behaviour(push_latency_s=2, idempotency=honoured))
    first = client.push("cmp-0001", key, 100)
    assert (client.push("cmp-0001", key, 101) is first) == (effects == 1)
    assert first.due == 102
    assert client.book.as_json()["effects"] == {"cmp-0001": {key: effects}}


def test_the_oldest_key_is_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_api.clients._KEYS_KEPT", 2)
    client = ClientState("acme", 0, Behaviour())
    pushes = [client.push("cmp-0001", key, 0) for key in "abc"]
    assert client.push("cmp-0001", "c", 0) is pushes[2]
    assert client.push("cmp-0001", "a", 0) is not pushes[0]


def test_the_faults_of_a_client_id_depend_on_the_seed_and_on_no_other_client_id() -> None:
    def faults(seed: int, client_id: str) -> list[FaultKind]:
        client = ClientState(client_id, seed, Behaviour())
        return [client.fault(RATES) for _ in range(50)]

    assert faults(0, "acme") == faults(0, "acme")
    assert faults(0, "acme") != faults(0, "other")
    assert faults(0, "acme") != faults(1, "acme")


def test_what_is_wrong_with_every_request_comes_before_what_comes_at_a_rate() -> None:
    client = ClientState("acme", 0, Behaviour(fault=FaultKind.HTML))
    assert {client.fault(RATES) for _ in range(50)} == {FaultKind.HTML}


def test_the_401_comes_to_each_request_at_first_and_then_to_every_second_sending_of_it() -> None:
    client = ClientState("acme", 0, Behaviour(fault=FaultKind.UNAUTHORIZED))
    sent = [client.fault((), request) for request in ("one", "two", "one", "two", "two", "two")]
    assert sent == [FaultKind.UNAUTHORIZED] * 2 + [FaultKind.NONE] * 2 + [FaultKind.UNAUTHORIZED, FaultKind.NONE]


def test_an_absurd_wait_is_a_refusal_that_lasts_years() -> None:
    client = ClientState("acme", 0, Behaviour(fault=FaultKind.ABSURD_WAIT))
    verdict = client.take(0)
    assert not verdict.accepted
    assert verdict.wait_s > 1e8
    assert client.book.as_json()["refused"] == 1


def test_new_settings_forget_the_spent_quota_only_if_they_change_the_quota() -> None:
    client = ClientState("acme", 0, Behaviour(quota_requests=1))
    assert client.take(0).accepted
    client.adopt(Behaviour(quota_requests=1, campaigns=5))
    assert not client.take(1).accepted
    client.adopt(Behaviour(quota_requests=2, campaigns=5))
    assert client.take(2).accepted


def quotas(*pairs: tuple[int, float]) -> Behaviour:
    (requests, window_s), *further = pairs
    return Behaviour(
        quota_requests=requests,
        quota_window_s=window_s,
        quotas=tuple(FurtherQuota(requests=requests, window_s=window_s) for requests, window_s in further),
    )


def test_the_wait_is_for_the_last_of_the_quotas_that_have_no_room() -> None:
    client = ClientState("acme", 0, quotas((1, 10), (2, 100)))
    assert client.take(0).accepted
    assert client.take(1).wait_s == 9
    assert client.take(10).accepted
    assert client.take(11).wait_s == 89
    assert client.book.as_json()["largest_windows"] == {"10": 1, "100": 2}


def test_a_request_that_costs_more_than_is_left_waits_for_what_it_lacks_and_may_be_refused_by_the_platform() -> None:
    shared = meter(Algorithm.SLIDING_LOG, MeteredQuota(4, 60))
    acme, other = ClientState("acme", 0, quotas((5, 10), (6, 100))), ClientState("other", 0, quotas((9, 60)))
    assert acme.take(0, cost=3).accepted
    assert acme.take(1, cost=3).wait_s == 9
    assert acme.take(10, cost=3).accepted
    assert acme.take(11, cost=1).wait_s == 89
    assert other.take(0, shared, cost=3).accepted
    verdict = other.take(1, shared, cost=2)
    assert (verdict.accepted, verdict.by_platform, verdict.wait_s) == (False, True, 59)
    assert acme.book.as_json()["largest_windows"] == {"10": 3, "100": 6}


def test_new_settings_forget_the_spent_quotas_if_they_change_any_of_them() -> None:
    client = ClientState("acme", 0, quotas((1, 10), (2, 100)))
    assert client.take(0).accepted
    client.adopt(quotas((1, 10), (3, 100)))
    assert client.take(1).accepted


def test_a_refusal_is_the_platforms_only_where_the_client_id_has_room() -> None:
    shared = meter(Algorithm.SLIDING_LOG, MeteredQuota(2, 60))
    acme, other = ClientState("acme", 0, quotas((1, 60))), ClientState("other", 0, quotas((10, 60)))
    verdicts = [client.take(now, shared) for now, client in enumerate((acme, acme, other, other))]
    said = [(verdict.accepted, verdict.by_platform) for verdict in verdicts]
    assert said == [(True, False), (False, False), (True, False), (False, True)]
    assert verdicts[-1].wait_s == 57
    pages = [client.book.as_json() for client in (acme, other)]
    assert [(page["refused"], page["refused_by_platform"]) for page in pages] == [(1, 0), (1, 1)]


def test_what_the_platform_refuses_leaves_the_quota_of_the_client_id_alone() -> None:
    shared = meter(Algorithm.SLIDING_LOG, MeteredQuota(1, 10))
    client = ClientState("acme", 0, quotas((2, 60)))
    assert [client.take(now, shared).accepted for now in (0, 1, 2, 10)] == [True, False, False, True]


def test_somebody_else_has_used_the_quota_all_along_at_an_even_pace() -> None:
    client = ClientState("acme", 0, Behaviour(quota_requests=10, quota_window_s=60, foreign_requests=6))
    accepted = [client.take(1000 + n / 100).accepted for n in range(10)]
    assert accepted == [True] * 4 + [False] * 6
    page = client.book.as_json()
    assert (page["accepted"], page["refused"], page["foreign"], page["largest_window"]) == (4, 6, 6, 4)
    assert not client.take(1011).accepted  # what came back at 1010 was taken at once


def test_nobody_else_uses_the_quota_unless_told() -> None:
    client = ClientState("acme", 0, Behaviour(quota_requests=10))
    assert sum(client.take(1000).accepted for _ in range(20)) == 10
    assert client.book.as_json()["foreign"] == 0


def test_latencies_vary_within_the_jitter() -> None:
    client = ClientState("acme", 0, Behaviour(latency_jitter=0.5))
    drawn = [client.latency(2) for _ in range(100)]
    assert min(drawn) >= 1
    assert max(drawn) <= 3
    assert len(set(drawn)) > 90


def test_the_peak_concurrency_is_the_most_that_were_in_flight_together() -> None:
    client = ClientState("acme", 0, Behaviour())
    with client.in_flight(), client.in_flight():
        pass
    with client.in_flight():
        pass
    assert client.book.peak_concurrency == 2
