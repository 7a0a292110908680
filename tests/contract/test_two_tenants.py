"""Whatever the runs of two tenants with the same campaign ids do, the store says what a model says.

No write of one tenant changes a row of the other.
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NoOpTracer
from sqlalchemy import Connection, Row, select

from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.campaign import STATISTICS, Page, Push, PushState, content_hash
from adsyncd.model.run import Listing, ResumePoint, Run, Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, alerts, dead_letters, ending, journal, listings, open_store, pauses, tables
from support.records import NOON, HandClock, campaign, page, recorded, run

PENDING, PUSHED, FAILED = PushState.PENDING, PushState.PUSHED, PushState.FAILED
SKIPPED, STORED, DEAD_LETTERED = PushState.SKIPPED, PushState.STORED, PushState.DEAD_LETTERED
SETTLED = {SKIPPED, STORED, DEAD_LETTERED}  # final in their run
COMPLETE = Listing.COMPLETE
ALL, CHANGED, NONE = PushPolicy.ALL, PushPolicy.CHANGED, PushPolicy.NONE

LATER = NOON + timedelta(days=1)  # than any of the runs begins
PAGES = (1, 2)  # that are looked up by their ETag

IDS = st.sampled_from(["c1", "c2", "c3"])
CONTENT = st.sampled_from(["a", "b"])


@dataclass(slots=True)
class Remembered:
    """A campaign over its tenant's runs. `pushed` and `dead` are contents; `letter`: attempts, failures and reason."""

    content: str = ""
    pushed: str | None = None
    synced: bool = False
    failures: int = 0
    missed: bool = False
    deleted: bool = False
    dead: str | None = None
    letter: tuple[int, int, str | None] = (0, 0, None)


@dataclass(slots=True)
class Model:
    """The rows that a tenant must have in the store, and what the store must answer to its runs."""

    tenant: str
    number: int = 0
    campaigns: dict[str, Remembered] = field(default_factory=dict)
    pages: dict[int, tuple[dict[str, str], Page]] = field(default_factory=dict)
    alerts: set[Alert] = field(default_factory=set)
    paused: datetime | None = None
    reusable: bool = False
    next_page: int = 1
    announced: int = 0
    complete: bool = False
    pushes: dict[str, Push] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    unpushed: dict[str, dict[str, tuple[PushState, int, str | None]]] = field(default_factory=dict)  # by run

    @property
    def run(self) -> Run:
        return run(self.tenant, self.number)

    def resume_point(self) -> ResumePoint:
        counts = Counter(push.state for push in self.pushes.values())
        owed = tuple(self.pushes[key] for key in sorted(self.pushes) if self.pushes[key].state is PENDING)
        attempts = [push.attempts for push in self.pushes.values() if push.attempts]
        requests, retries = self.next_page - 1 + sum(attempts), sum(attempts) - len(attempts)
        states = {state.value: counts[state] for state in PushState if state is not PENDING}
        tally = replace(Tally(listed=counts.total(), requests=requests, retries=retries), **states)  # type: ignore[arg-type]  # counts
        live = [known for known in self.campaigns.values() if not known.deleted and self.next_page == 1]
        return ResumePoint(
            *(self.run.started_at, self.next_page, self.complete, owed, tally, self.announced),
            source=None if self.next_page == 1 else "",
            live=len(live),
            missed=sum(known.missed for known in live),
        )

    def missing(self) -> tuple[int, int]:
        unseen = [known.missed for key, known in self.campaigns.items() if key not in self.pushes and not known.deleted]
        return len(unseen), sum(unseen)

    def kept_listing(self) -> list[str] | None:
        return sorted(key for key, known in self.campaigns.items() if not known.missed) if self.reusable else None

    def kept_page(self, number: int) -> Page | None:
        listed, kept = self.pages.get(number, ({}, None))
        return kept if all(self.campaigns[key].content == content for key, content in listed.items()) else None

    def keep(self, step: "KeepPage") -> tuple[Page, list[Push]]:
        listed = page(
            *(campaign(key, content) for key, content in step.listed.items()),
            number=self.next_page,
            has_more=step.has_more,
        )
        listed = replace(listed, etag=step.etag)
        if step.etag:
            self.pages[self.next_page] = step.listed, listed
        self.next_page, self.complete = self.next_page + 1, not step.has_more
        self.announced = max(self.announced, len(step.listed))
        new = []
        for key, content in step.listed.items():
            known = self.campaigns.setdefault(key, Remembered())
            known.content, known.missed, known.deleted = content, False, False
            if known.dead not in {None, content}:
                known.dead = None
            if key in self.pushes:
                continue
            state = PENDING
            if step.policy is NONE:
                state = STORED
            elif known.dead:
                state = DEAD_LETTERED
            elif step.policy is CHANGED and known.pushed == content:
                state = SKIPPED
            self.pushes[key] = Push(key, state, failures=known.failures if state is PENDING else 0)
            self.contents[key] = content
            new.append(self.pushes[key])
        return listed, new

    def settle(self, step: "SettlePush") -> Push:
        """Settle a push, perhaps once more than needed, and return what to tell the store."""
        push = replace(self.pushes[step.key], state=step.state, attempts=step.attempts, error=step.state.value)
        known, content = self.campaigns[step.key], self.contents[step.key]
        known.pushed = content if step.state is PUSHED else None
        known.synced = known.synced or step.state is PUSHED
        known.failures = push.failures + (step.state is FAILED) if step.state in {FAILED, STORED} else 0
        if step.state is DEAD_LETTERED:
            known.dead, known.letter = content, (step.attempts, push.failures + 1, push.error)
        self.pushes[step.key] = push
        return push

    def ended(self, listing: Listing | None) -> Run:
        number = Counter(push.state for push in self.pushes.values())
        lost = {"dead_lettered": number[DEAD_LETTERED], "failed": number[FAILED] + number[PENDING]}
        return replace(self.run, ended_at=NOON, listing=listing, **lost, untried=number[PENDING])  # type: ignore[arg-type]  # counts

    def finish(self, listing: Listing | None) -> int:
        lost = {key: push for key, push in self.pushes.items() if push.state in {FAILED, DEAD_LETTERED}}
        self.unpushed[self.run.run_id] = {key: self.reason(push) for key, push in lost.items()}
        for key, known in self.campaigns.items():
            if key not in self.pushes and listing in {COMPLETE, Listing.COLLAPSED}:
                known.deleted = known.deleted or (known.missed and listing is COMPLETE)
                known.missed = True
                known.dead = None if known.deleted else known.dead
        self.reusable = self.next_page > 1 and listing in {COMPLETE, Listing.KEPT}
        self.next_page, self.announced, self.complete, self.pushes, self.contents = 1, 0, False, {}, {}
        self.number += 1
        return len(self.letters())

    def reason(self, push: Push) -> tuple[PushState, int, str | None]:
        if push.attempts:
            return push.state, push.attempts, push.error
        known = self.campaigns[push.campaign_id]  # it was a dead letter before, and may be none any more
        attempts, _, error = known.letter if known.dead else (0, 0, None)
        return push.state, attempts, error

    def replay(self, key: str, error: str | None) -> None:
        known = self.campaigns[key]
        if error is None:
            known.pushed, known.synced, known.failures, known.dead = known.dead, True, 0, None
        else:
            known.letter = (known.letter[0] + 1, known.letter[1], error)

    def letters(self) -> dict[str, tuple[str, int, int, str | None]]:
        return {key: (hashed(key, known.dead), *known.letter) for key, known in self.campaigns.items() if known.dead}

    def rows(self) -> dict[str, tuple[object, ...]]:
        return {
            key: (
                hashed(key, known.content),
                known.pushed and hashed(key, known.pushed),
                *(known.synced, known.failures, known.missed, known.deleted),
            )
            for key, known in self.campaigns.items()
        }


def hashed(key: str, content: str) -> str:
    return content_hash(campaign(key, content), STATISTICS)


@dataclass(frozen=True, slots=True)
class KeepPage:
    listed: dict[str, str]
    policy: PushPolicy = ALL
    has_more: bool = False
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class SettlePush:
    key: str
    state: PushState
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class FinishRun:
    listing: Listing | None = COMPLETE


@dataclass(frozen=True, slots=True)
class ReplayLetter:
    key: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DiscardLetter:
    key: str


@dataclass(frozen=True, slots=True)
class KeepAlert:
    name: AlertName
    over: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    since: datetime | None


Step = KeepPage | SettlePush | FinishRun | ReplayLetter | DiscardLetter | KeepAlert | Pause

STEP = st.one_of(
    st.builds(
        KeepPage,
        st.dictionaries(IDS, CONTENT),
        st.sampled_from(PushPolicy),
        st.booleans(),
        st.sampled_from([None, "v1", "v2"]),
    ),
    st.builds(SettlePush, IDS, st.sampled_from([PUSHED, FAILED, STORED, DEAD_LETTERED]), st.integers(1, 3)),
    st.builds(FinishRun, st.sampled_from([None, *Listing])),
    st.builds(ReplayLetter, IDS, st.sampled_from([None, "500"])),
    st.builds(DiscardLetter, IDS),
    st.builds(KeepAlert, st.sampled_from([AlertName.NO_SUCCESS, AlertName.RUNS_FAILING])),
    st.builds(Pause, st.sampled_from([None, NOON, LATER])),
)
TURN = st.tuples(st.sampled_from([0, 1]), STEP)  # whose, and what
LIVES = st.lists(st.lists(TURN, max_size=16), min_size=1, max_size=3)  # turns, each list up to a crash

# What chance seldom brings about, first by one tenant while the other has the same, then by the other.
DIES = [KeepPage({"a": "1", "b": "1"}, etag="v1"), SettlePush("a", DEAD_LETTERED), SettlePush("b", FAILED, 3)]
REPLAYED = [*DIES, ReplayLetter("a", "500"), FinishRun(), ReplayLetter("a"), FinishRun()]
DISCARDED = [*DIES, FinishRun(), DiscardLetter("a"), KeepPage({"a": "1"}), SettlePush("a", PUSHED)]
REVIVED = [*DIES, FinishRun(), KeepPage({"a": "2", "b": "1"}, CHANGED, has_more=True), KeepPage({"b": "2"}, etag="v2")]
SETTLED_OTHERWISE = [KeepPage({"b": "1", "a": "1"}), SettlePush("a", FAILED), SettlePush("a", PUSHED, 2)]
PUSHED_BEFORE = [*SETTLED_OTHERWISE, FinishRun(), KeepPage({"a": "1"}, CHANGED), FinishRun(), KeepPage({"a": "1"})]
MISSES_A = [KeepPage({"b": "1"}), FinishRun()]
GONE = [*DIES, FinishRun(Listing.COLLAPSED), *MISSES_A, *MISSES_A, KeepPage({"a": "1"}, CHANGED)]
UNBELIEVED = [  # a campaign that was missed stays so, until the next complete listing misses it as well
    *[*DIES, FinishRun(), *MISSES_A],
    *[step for listing in (Listing.COLLAPSED, Listing.KEPT, None) for step in (MISSES_A[0], FinishRun(listing))],
    *MISSES_A,
]
CHANGED_UNDER_WAY = [
    *[KeepPage({"a": "1"}, has_more=True), KeepPage({"a": "2"}), SettlePush("a", PUSHED), FinishRun()],
    KeepPage({"a": "2"}, CHANGED),
]
ALERTED = [
    KeepAlert(AlertName.NO_SUCCESS),
    KeepAlert(AlertName.RUNS_FAILING),
    KeepAlert(AlertName.NO_SUCCESS, over=True),
    KeepAlert(AlertName.NO_SUCCESS, over=True, told=True),
    *[Pause(NOON), Pause(LATER), Pause(None)],
]
PULLED = [  # no longer pushed, and pushed again
    *[*DIES, FinishRun(), KeepPage({"a": "1", "b": "1", "c": "1"}, NONE), FinishRun()],
    *[KeepPage({"a": "1", "b": "1", "c": "1"}, CHANGED), SettlePush("b", PUSHED), SettlePush("c", STORED), FinishRun()],
    *[KeepPage({"a": "2", "b": "1"}, NONE), FinishRun(), KeepPage({"a": "2", "b": "1", "c": "1"}, CHANGED)],
]
STORIES = [CHANGED_UNDER_WAY, PULLED, REPLAYED, DISCARDED, REVIVED, PUSHED_BEFORE, GONE, UNBELIEVED, ALERTED]
APART = [  # the other knows the campaign, and has no dead letter of it
    *[(1, step) for step in [KeepPage({"a": "1"}), SettlePush("a", PUSHED), FinishRun()]],
    *[(0, step) for step in [KeepPage({"a": "1"}, CHANGED), SettlePush("a", DEAD_LETTERED), FinishRun()]],
    *[(whose, KeepPage({"a": "1"}, CHANGED)) for whose in (1, 0)],
    *[(whose, FinishRun()) for whose in (1, 0)],
]
IN_TURNS = [[(whose, step) for step in story for whose in (0, 1)] for story in STORIES]


@pytest.fixture(params=["whole", "in pieces"], autouse=True)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store write pages and ends as one, or a campaign at a time, as it writes those of large tenants."""
    if request.param == "in pieces":
        monkeypatch.setattr(journal, "PIECE", 1)
        monkeypatch.setattr(ending, "PIECE", 1)


@example(lives=[APART, *IN_TURNS])
@settings(
    max_examples=10, suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture]
)
@given(lives=LIVES)
async def test_the_store_does_what_the_model_does_and_leaves_every_row_of_the_other_tenant_as_it_was(
    url: str, lives: list[list[tuple[int, Step]]]
) -> None:
    both = [Model(uuid.uuid4().hex) for _ in range(2)]
    for turns in lives:
        async with open_store(url, clock=HandClock(LATER), tracer=NoOpTracer()) as store:
            for model in both:
                await check(store, model)
            for whose, step in turns:
                other = both[1 - whose]
                before = await store._read(partial(rows_of, other.tenant))
                await take(step, store, both[whose])
                await check(store, both[whose])
                assert await store._read(partial(rows_of, other.tenant)) == before


def rows_of(tenant: str, connection: Connection) -> dict[str, list[Row[Any]]]:
    """Return all rows of a tenant, by table."""
    of_tenant = {table.name: table.c.tenant == tenant for table in tables.metadata.sorted_tables if "tenant" in table.c}
    runs = select(tables.runs.c.run_id).where(of_tenant["runs"])
    whose = of_tenant | {table.name: table.c.run_id.in_(runs) for table in (tables.pushes, tables.unpushed)}
    return {
        name: sorted(connection.execute(select(tables.metadata.tables[name]).where(condition)), key=repr)
        for name, condition in whose.items()
    }


async def check(store: Store, model: Model) -> None:
    """Compare what the store says of a tenant with the model."""
    tenant = model.tenant
    assert await store.begin(model.run) == model.resume_point()

    def look(connection: Connection) -> None:
        assert ending.missing(connection, model.run) == model.missing()
        assert ending.missing_of_few(connection, [model.run]) == [model.missing()]
        assert listings.have_pages(connection, [tenant]) == [bool(model.pages)]
        listing = listings.whole(connection, tenant, "", NOON, LATER)
        assert (listing and [one.id for one in listing.campaigns]) == model.kept_listing()
        for number in PAGES:
            assert listings.page(connection, tenant, "", number) == model.kept_page(number)
        found = rows_of(tenant, connection)
        assert {row.campaign_id: as_modelled(row._mapping) for row in found["campaigns"]} == model.rows()
        for run_id, lost in model.unpushed.items():
            kept = [row for row in found["unpushed"] if row.run_id == run_id]
            assert {row.campaign_id: (row.state, row.attempts, row.reason) for row in kept} == lost
        letters = {one.campaign_id: astuple(one) for one in dead_letters.find(connection, tenant, None, None)}
        assert {key: (one[4], *one[6:8], one[5]) for key, one in letters.items()} == model.letters()
        assert dead_letters.count_all(connection).get(tenant, 0) == len(letters)
        assert {alert for alert in alerts.all_alerts(connection) if alert.tenant == tenant} == model.alerts
        assert pauses.all_pauses(connection).get(tenant) == model.paused

    await store._read(look)


def as_modelled(row: Mapping[Any, Any]) -> tuple[object, ...]:
    whether = [row[name] is not None for name in ("missed_at", "deleted_at")]
    return (row["content_hash"], row["pushed_hash"], row["synced_at"] is not None, row["failures"], *whether)


async def take(step: Step, store: Store, model: Model) -> None:
    """Take a step in the store and in the model."""
    match step:
        case KeepPage():
            before = model.run
            listed, new = model.keep(step)
            assert await store.keep_page(before, listed, step.policy) == new
        case SettlePush(key) if key in model.pushes and model.pushes[key].state not in SETTLED:
            await recorded(store, model.run, model.settle(step))
        case FinishRun(listing):
            ended = model.ended(listing)  # twice: its pushes are gone then, which must not mean that its campaigns are
            assert [await store.finish(ended), await store.finish(ended)] == [model.finish(listing)] * 2
        case ReplayLetter(key, error):
            for letter in await store.dead_letters(model.tenant, key):
                await store.settle_replay(letter, attempts=1, error=error, trace_id=letter.trace_id)
                model.replay(key, error)
        case DiscardLetter(key):
            await store.discard(await store.dead_letters(model.tenant, key))
            if key in model.campaigns:
                model.campaigns[key].dead = None
        case KeepAlert(name, over, told):
            alert = Alert(model.tenant, name, NOON, "", LATER if over else None, told=told)
            await store.keep_alert(alert)
            model.alerts = {one for one in model.alerts if one.name != name} | (
                {alert} if not (over and told) else set()
            )
        case Pause(since):
            await (store.resume(model.tenant) if since is None else store.pause(model.tenant, since))
            model.paused = since
