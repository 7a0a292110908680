import io
from dataclasses import replace

import pytest
from rich.console import Console

from adsyncd.demo.collector import ExportedPoint
from adsyncd.demo.progress import TenantProgress, progress, progress_of
from adsyncd.model.run import Outcome
from adsyncd.telemetry.instruments import QUOTA_PERMITS, RETRIES, TENANT
from support.records import run

GOING = replace(run(), listed=20, pushed=12)


def point(name: str, tenant: str, value: float) -> ExportedPoint:
    return ExportedPoint(resource={}, name=name, unit="", attributes={TENANT: tenant}, value=value, count=1)


def test_each_tenant_stands_where_its_run_and_the_latest_of_its_metrics_say() -> None:
    points = [
        point(QUOTA_PERMITS.name, "acme", 0),
        point(QUOTA_PERMITS.name, "globex", 10),
        point(RETRIES.name, "acme", 1),
        point(QUOTA_PERMITS.name, "globex", 0),
        point(QUOTA_PERMITS.name, "acme", 3),
        point(RETRIES.name, "acme", 2),
    ]
    assert progress_of(("acme", "globex", "initech"), {"acme": GOING}, points) == {
        "acme": TenantProgress(GOING, retries=2, waits=False),
        "globex": TenantProgress(None, retries=0, waits=True),
        "initech": TenantProgress(None, retries=0, waits=False),
    }


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TenantProgress(None, 0, waits=False), "starting"),
        (TenantProgress(GOING, 1, waits=False), "20 listed, 1 retried"),
        (TenantProgress(GOING, 3, waits=True), "20 listed, 3 retried, waiting for quota"),
        (TenantProgress(replace(GOING, outcome=Outcome.PARTIAL, retries=5), 3, waits=True), "partial, 5 retried"),
    ],
)
def test_what_a_tenant_does_is_said_in_a_few_words(state: TenantProgress, words: str) -> None:
    assert state.doing() == words


def test_without_a_terminal_there_is_a_line_every_five_seconds_and_no_control_character() -> None:
    out = io.StringIO()
    where = {"acme": TenantProgress(GOING, 0, waits=True), "globex": TenantProgress(None, 0, waits=False)}
    with progress(Console(file=out, width=80), tuple(where), 100) as show:
        for elapsed_s in (0.0, 0.2, 4.9, 5.1, 9.9, 10.2):
            show(where, elapsed_s)
    assert out.getvalue().splitlines() == [
        "   0 s  acme 12/100  globex 0/100",
        "   5 s  acme 12/100  globex 0/100",
        "  10 s  acme 12/100  globex 0/100",
    ]


def test_on_a_terminal_of_80_columns_each_tenants_bar_fits_a_line() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    busiest = TenantProgress(replace(GOING, listed=100, pushed=99), 99, waits=True)
    with progress(console, ("initech",), 100) as show:
        show({"initech": busiest}, 30.0)
    assert " 99/100 100 listed, 99 retried, waiting for quota" in out.getvalue()
