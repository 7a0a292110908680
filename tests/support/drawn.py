"""Tenants, causes, quotas and failures for the pages to show: late ones, refused campaigns, hosts that are down."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any, TypeVar

from adsyncd.control.overview import (
    Bucket,
    Cause,
    Failed,
    Load,
    Mark,
    PlatformRow,
    QuotaRow,
    QuotasPage,
    Reason,
    TenantRow,
    TenantsPage,
)
from adsyncd.errors import NoSuchTenant
from adsyncd.model.run import Outcome, Run, Wait, run_id
from adsyncd.model.selection import Selection, Show
from adsyncd.model.status import DaemonStatus, RunProgress, State, TenantStatus, VaultState, VaultStatus
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.wait import WaitReason
from support.records import NOON

T = TypeVar("T")

WELL = [Mark.SUCCEEDED] * 48
UP = DaemonStatus(
    version="0.1.0",
    since=NOON - timedelta(days=12, hours=4),
    stopping=False,
    tenants={State.IDLE: 184, State.RUNNING: 11, State.WAITING: 4, State.PAUSED: 1},
    runs=15,
    refused=[],
    vault=VaultStatus(VaultState.UP, NOON - timedelta(days=12), None),
    breakers=[],
    store=None,
)
_AGO = timedelta(minutes=1)


def a_run(tenant: str, minutes: float = 2, **changes: Any) -> Run:  # noqa: ANN401 - a run's fields
    """Return a run of a tenant that ended some minutes before noon."""
    due = NOON - timedelta(minutes=minutes + 2)
    ended = NOON - timedelta(minutes=minutes)
    known = Run(tenant, run_id(tenant, due), due, due, "c1a3383a33256d25" * 2, ended, Outcome.SUCCEEDED, 25, 25)
    return replace(known, requests=31, **changes)


def a_row(tenant: str, day: Sequence[Mark] = WELL, load: Load | None = None, **status: Any) -> TenantRow:  # noqa: ANN401 - its fields
    """Return a tenant that is well, but for what is given."""
    known = TenantStatus(tenant, State.IDLE, tenant, "mixo", next_fire_time=NOON + 3 * _AGO, last_run=a_run(tenant))
    known = replace(known, **{"permits": 20, "permits_free": 13, "dead_letters": 0, **status})
    return TenantRow(known, known.verdict, day, load or Load(0.41, 0.3))


def a_verdict(tenant: str, trouble: Trouble, reason: str, **more: Any) -> Verdict:  # noqa: ANN401 - its fields
    """Return a verdict whose sentence is its reason, with the tenant's name."""
    severity = {Trouble.FAILING: Severity.CRITICAL, Trouble.PAUSED: Severity.NOTE}.get(trouble, Severity.WARNING)
    return Verdict(tenant, trouble, severity, f"{tenant} is {reason}", reason, **more)


LATE = a_verdict(
    "acme",
    Trouble.LATE,
    "late: every second tick is skipped",
    causes=(
        "It is due every 2m, and a run takes 2m 02s.",
        "Of that, 1m 59s (98 %) waits for the quota of 10 requests per 20s.",
    ),
    fixes=('schedule = { every = "3m" } or less often', "have the platform allow 17 requests per 20s"),
    since=NOON - timedelta(hours=9),
)
ROWS = (
    a_row(
        "soylent",
        [Mark.SUCCEEDED] * 45 + [Mark.FAILED] * 3,
        last_run=a_run("soylent", outcome=Outcome.FAILED, pushed=0),
        error="the platform refused email and password",
        verdict=a_verdict("soylent", Trouble.FAILING, "failing: the platform refused email and password"),
    ),
    a_row(
        "acme",
        [Mark.SUCCEEDED] * 12 + [Mark.LATE] * 36,
        Load(1.1, 1.0),
        state=State.WAITING,
        wait=Wait(WaitReason.QUOTA, NOON + timedelta(seconds=9)),
        run=RunProgress("acme-1", NOON - 2 * _AGO, 60, 60, 44, 0, 0, 0, 0, 50, 0, 0, 110.0, NOON + _AGO),
        verdict=LATE,
    ),
    a_row("cyberdyne", [Mark.LATE] * 48, Load(2.75, 1.0), verdict=replace(LATE, tenant="cyberdyne")),
    a_row(
        "umbrella",
        [Mark.PARTIAL] * 48,
        last_run=a_run("umbrella", outcome=Outcome.PARTIAL, pushed=21, dead_lettered=3, failed=1),
        dead_letters=3,
        verdict=a_verdict("umbrella", Trouble.PARTIAL, "partial: the platform refuses campaigns"),
    ),
    a_row("oscorp", load=Load(0.93, 0.9)),
    a_row("wonka", state=State.PAUSED, verdict=a_verdict("wonka", Trouble.PAUSED, "paused")),
    a_row("fresh", [Mark.NOTHING] * 48, Load(None, 0.0), last_run=None, next_fire_time=None),
    TenantRow(TenantStatus("broken", State.REFUSED), None, [Mark.NOTHING] * 48, None),
)
CAUSES = (
    Cause(
        Severity.CRITICAL,
        Show.FAILING,
        "failing: the platform refused email and password",
        "fix the secret adsyncd/soylent in Vault; the next run signs in again",
        ["soylent"],
        1,
        NOON - timedelta(minutes=52),
    ),
    Cause(Severity.WARNING, Show.LATE, LATE.reason, LATE.fixes[0], ["acme", "cyberdyne", "duff-us"], 8, LATE.since),
    Cause(Severity.WARNING, Show.PARTIAL, "campaigns are refused", "fix them, then replay", ["umbrella"], 6, None),
    Cause(Severity.NOTE, Show.PAUSED, "paused", "adsyncd resume wonka", ["wonka"], 1, NOON - timedelta(days=3)),
)
HISTORY = [
    Bucket(
        NOON - timedelta(hours=24 - hour),
        runs_succeeded=790,
        runs_partial=6,
        runs_failed=4,
        pushed=7_500 + 97 * (hour % 5),
        not_pushed=17 if hour > 16 else 1,
        requests=8_900,
        refused=22 if hour == 23 else 0,
        skipped_ticks=6 if hour > 3 else 0,
        waited_s=4_650.0 + 700 * (hour % 3),
    )
    for hour in range(24)
]
PLATFORMS = (
    PlatformRow("mixo", 164, "1,000 requests per 60s", Load(0.62, 0.55), 391, None),
    PlatformRow("adgrid", 36, None, None, None, "ads-jp.mixo.example: no answer within 10 s"),
)
QUOTAS = [
    QuotaRow(
        row.status.id,
        "mixo",
        f"client-{row.status.id}",
        row.load,
        "10 requests per 20s",
        4,
        3540.0,
        22 if row.status.id == "umbrella" else 0,
        "every 2m",
        LATE.fixes if (row.load.needed or 0) > 1 else (),
    )
    for row in sorted(ROWS, key=lambda row: -((row.load and row.load.needed) or 0))
    if row.load
]
REASONS = (
    Reason(
        Failed.DEAD_LETTERS,
        "the platform answered 422: this campaign can't be synced",
        55,
        ["umbrella", "gekko", "krusty-de"],
        6,
        NOON - timedelta(hours=26),
        "runs skip them until they are replayed",
    ),
    Reason(Failed.RUNS, "ads-jp.mixo.example did not answer within 10 s", None, ["hooli"], 4, None, "runs fail"),
    Reason(Failed.PUSHES, "503 four times", 3, ["umbrella", "omni"], 2, NOON - 3 * _AGO, "the next run tries again"),
)


@dataclass
class DrawnLists:
    """What the pages ask of all tenants, as a test says; `daemon` tells its status."""

    daemon: Callable[[], Coroutine[Any, Any, DaemonStatus]]
    rows: Sequence[TenantRow] = ROWS
    found: Sequence[Cause] = CAUSES
    buckets: Sequence[Bucket] = field(default_factory=lambda: HISTORY)
    platforms: Sequence[PlatformRow] = PLATFORMS
    client_ids: Sequence[QuotaRow] = field(default_factory=lambda: QUOTAS)
    failures: Sequence[Reason] = REASONS
    free: Sequence[tuple[datetime, float]] = ()

    async def tenants(
        self,
        selection: Selection,
        *,
        worst: bool,  # noqa: ARG002 - a test says what there is
        limit: int,
        after: str | None,
    ) -> TenantsPage:
        q = selection.q
        fitting = [row for row in self.rows if q is None or q in row.status.id]
        rows, following = _page(fitting, limit, after)
        counts: Mapping[Show, int] = {
            one: len(self.rows) if one is Show.ALL else index for index, one in enumerate(Show)
        }
        return TenantsPage(rows, len(fitting), counts, following)

    async def tenant(self, tenant_id: str) -> TenantRow:
        for row in self.rows:
            if row.status.id == tenant_id:
                return row
        raise NoSuchTenant(f"no tenant {tenant_id}", "see adsyncd status")

    def free_permits(self, tenant_id: str) -> Sequence[tuple[datetime, float]]:  # noqa: ARG002 - a test says it
        return self.free

    def causes(self) -> Sequence[Cause]:
        return self.found

    def history(self, since: datetime, bucket: timedelta) -> Sequence[Bucket]:  # noqa: ARG002 - a test says it
        return self.buckets

    async def quotas(self, limit: int, after: str | None) -> QuotasPage:
        rows, following = _page(self.client_ids, limit, after)
        return QuotasPage(self.platforms, rows, len(self.client_ids), 2, 1, following)

    async def reasons(self) -> Sequence[Reason]:
        return self.failures


def _page(rows: Sequence[T], limit: int, after: str | None) -> tuple[Sequence[T], str | None]:
    begin = int(after or 0)
    return rows[begin : begin + limit], str(begin + limit) if begin + limit < len(rows) else None


VOID = frozenset({"meta", "link", "input", "br", "img", "!doctype"})


class Html(HTMLParser):
    """A page as a browser would read it. `faults`: what is not well-formed, or what the policy would block."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self._open]
        self.faults += [f"id {one} twice" for one in set(self.ids) if self.ids.count(one) > 1]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        names = [name for name, _ in attrs]
        self.faults += [f"<{tag} {name}>" for name in names if name == "style" or name.startswith("on")]
        self.faults += [f"<{tag}> has {name} twice" for name in set(names) if names.count(name) > 1]
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"] or "")
        for name in ("href", "src", "action"):
            if name in given:
                self.links.append(given[name] or "")
        if tag == "style" or (tag == "script" and "src" not in given):
            self.faults.append(f"<{tag}> inside the page")
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append((int(tag[1:]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open and self._open[-1][0] == "h" and self._open[-1][1:].isdigit():
            rank, text = self.headings[-1]
            self.headings[-1] = rank, text + data


def well_formed(text: str) -> Html:
    """Return a page. Fails unless it is well-formed, keeps to its policy, and has one first heading."""
    page = Html(text)
    assert not page.faults
    assert [rank for rank, _ in page.headings].count(1) == 1
    assert page.headings[0][0] == 1
    assert not [link for link in page.links if not link.startswith(("/", "#", "?")) or link.startswith("//")]
    return page
