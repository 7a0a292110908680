from dataclasses import replace

from adsyncd.control.page.frame import Link, Notice, frame, notices
from adsyncd.model.status import Export, VaultState, VaultStatus
from support.drawn import UP
from support.records import NOON


def test_the_header_names_the_node_and_counts_what_is_behind_the_views() -> None:
    around = frame("Quotas", host="sync-eu-1", daemon=UP, now=NOON, current="Quotas", failures=1061)
    assert (around.title, around.host, around.version, around.up) == ("Quotas · adsyncd", "sync-eu-1", "0.1.0", "12d")
    assert around.views == [
        Link("Tenants", "/", "200"),
        Link("Quotas", "/quotas", "", current=True),
        Link("Failures", "/failures", "1,061"),
    ]
    assert around.clock.words == "12:00:00"


def test_a_daemon_that_is_well_has_no_notices() -> None:
    assert notices(UP, NOON) == []


def test_the_database_vault_and_a_stop_are_told_on_top() -> None:
    sealed = VaultStatus(VaultState.SEALED, NOON, "unseal it")
    ill = replace(UP, store="the disk is full", vault=sealed, stopping=True)
    assert notices(ill, NOON) == [
        Notice("bad", "The database can't be used: the disk is full"),
        Notice("bad", "Vault: sealed since 12:00:00: unseal it"),
        Notice("warn", "The daemon is stopping: it starts no more runs."),
    ]


def test_telemetry_that_is_being_lost_is_told_with_the_cause() -> None:
    exported = replace(UP, telemetry={"traces": Export(succeeded=True), "logs": Export()})
    assert notices(exported, NOON) == []
    lost = {"traces": Export(cause="HTTP 503"), "logs": Export(cause="queue full")}
    lossy = replace(UP, telemetry={**lost, "metrics": Export(succeeded=True)})
    assert notices(lossy, NOON) == [
        Notice("warn", "Telemetry is being lost: traces (HTTP 503), logs (queue full)"),
    ]
