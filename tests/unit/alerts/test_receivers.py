from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from adsyncd.alerts import Alertmanager, Webhook
from adsyncd.model.alert import AlertName
from support.alertmanager import check_postable_alerts, instant
from support.alerts import an_alert
from support.records import NOON

MINUTE = timedelta(minutes=1)
SECRET = "https://hooks.example.com/services/canary-91"


def alertmanager(repeat: timedelta = MINUTE) -> Alertmanager:
    return Alertmanager("http://alertmanager.invalid:9093", repeat)


@pytest.mark.parametrize("name", AlertName)
@pytest.mark.parametrize("resolved_at", [None, NOON, NOON + MINUTE])
def test_each_alert_is_one_that_alertmanager_takes(name: AlertName, resolved_at: datetime | None) -> None:
    alert = replace(an_alert(name=name), resolved_at=resolved_at)
    [posted] = check_postable_alerts(alertmanager().body([alert], NOON + 2 * MINUTE))
    labels = posted["labels"]
    assert labels == {"alertname": name.value, "service": "adsyncd", "severity": name.severity, "tenant": "acme"}
    assert posted["annotations"] == {"summary": alert.summary}
    assert instant(posted["startsAt"]) == NOON


def test_an_alert_that_fires_lasts_longer_than_some_repetitions_that_get_lost() -> None:
    [posted] = alertmanager(2 * MINUTE).body([an_alert()], NOON + MINUTE)
    assert instant(posted["endsAt"]) == NOON + MINUTE + 4 * 2 * MINUTE


def test_an_alert_that_is_over_ended_when_it_was_resolved() -> None:
    [posted] = alertmanager().body([replace(an_alert(), resolved_at=NOON + MINUTE)], NOON + 30 * MINUTE)
    assert instant(posted["endsAt"]) == NOON + MINUTE


@pytest.mark.parametrize("resolved_at", [None, NOON + MINUTE])
def test_a_clock_that_was_set_back_makes_no_alert_that_ends_before_it_starts(resolved_at: datetime | None) -> None:
    alert = replace(an_alert(), resolved_at=resolved_at)
    check_postable_alerts(alertmanager().body([alert], NOON - timedelta(days=1)))


def test_the_labels_stay_the_same_until_the_end() -> None:
    alert = an_alert()
    [fires, over] = alertmanager().body([alert, replace(alert, resolved_at=NOON)], NOON)
    assert fires["labels"] == over["labels"]


def test_alertmanager_is_reached_at_version_2_of_its_api_and_told_again() -> None:
    assert alertmanager().url == "http://alertmanager.invalid:9093/api/v2/alerts"
    assert alertmanager().repeat == MINUTE


def test_a_webhook_hears_in_words_and_in_fields() -> None:
    over = replace(an_alert("globex", AlertName.LOW_SUCCESS_RATE), resolved_at=NOON + MINUTE)
    assert Webhook(SECRET).body([an_alert(), over], NOON) == {
        "text": (
            "adsyncd: critical: acme: runs_failing: 3 runs in a row failed, the last because 503\n"
            "adsyncd: resolved: globex: low_success_rate: 3 runs in a row failed, the last because 503"
        ),
        "alerts": [
            {
                "alert": "runs_failing",
                "tenant": "acme",
                "severity": "critical",
                "status": "firing",
                "summary": "3 runs in a row failed, the last because 503",
                "since": "2026-11-25T12:00:00.000+00:00",
                "resolved_at": None,
            },
            {
                "alert": "low_success_rate",
                "tenant": "globex",
                "severity": "warning",
                "status": "resolved",
                "summary": "3 runs in a row failed, the last because 503",
                "since": "2026-11-25T12:00:00.000+00:00",
                "resolved_at": "2026-11-25T12:01:00.000+00:00",
            },
        ],
    }


def test_a_webhook_s_address_does_not_show() -> None:
    assert "canary-91" not in repr(Webhook(SECRET))
    assert Webhook(SECRET).url == SECRET
