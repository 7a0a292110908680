from dataclasses import replace

from adsyncd.model.alert import AlertName
from support.alerts import an_alert
from support.records import NOON


def test_what_stops_a_tenant_is_critical_and_the_rest_a_warning() -> None:
    critical = {AlertName.RUNS_FAILING, AlertName.SIGN_IN_FAILING, AlertName.NO_SUCCESS}
    assert {name for name in AlertName if name.severity == "critical"} == critical
    assert {name.severity for name in AlertName} == {"critical", "warning"}


def test_an_alert_fires_until_it_is_resolved_and_is_known_by_the_same_key() -> None:
    alert = an_alert()
    over = replace(alert, resolved_at=NOON)
    assert (alert.fires, over.fires) == (True, False)
    assert alert.key == over.key == ("acme", AlertName.RUNS_FAILING)
