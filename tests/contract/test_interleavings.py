"""Whatever runs do, and wherever they are cut off, the store says the same as a model that forgets nothing."""

import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NoOpTracer

from adsyncd.model.campaign import Push, PushState
from adsyncd.model.run import Listing, ResumePoint, Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_store
from support.records import NOON, HandClock, campaign, page, run

PENDING, PUSHED, FAILED = PushState.PENDING, PushState.PUSHED, PushState.FAILED
SKIPPED, DEAD_LETTERED = PushState.SKIPPED, PushState.DEAD_LETTERED
SETTLED = {SKIPPED, DEAD_LETTERED}  # of these nothing more comes in their run

LATER = NOON + timedelta(days=1)  # than any of the runs begins

IDS = st.sampled_from(["c1", "c2", "c3"])
CONTENT = st.sampled_from(["a", "b"])


@dataclass(slots=True)
class Remembered:
    """A campaign over its tenant's runs, by its content: the one pushed last, and the one that is a dead letter."""

    pushed: str | None = None
    dead: str | None = None
    failures: int = 0
    missed: bool = False
    deleted: bool = False


@dataclass(slots=True)
class Model:
    """What a tenant's runs must find in the store."""

    campaigns: dict[str, Remembered] = field(default_factory=dict)
    next_page: int = 1
    announced: int = 0
    complete: bool = False
    pushes: dict[str, Push] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)

    def resume_point(self, started_at: datetime) -> ResumePoint:
        counts = Counter(push.state for push in self.pushes.values())
        owed = tuple(self.pushes[key] for key in sorted(self.pushes) if self.pushes[key].state is PENDING)
        attempts = [push.attempts for push in self.pushes.values() if push.attempts]
        requests, retries = self.next_page - 1 + sum(attempts), sum(attempts) - len(attempts)
        tally = Tally(
            *(counts.total(), counts[PUSHED], counts[SKIPPED], counts[DEAD_LETTERED], counts[FAILED]), requests, retries
        )
        live = [known for known in self.campaigns.values() if not known.deleted and self.next_page == 1]
        return ResumePoint(
            *(started_at, self.next_page, self.complete, owed, tally, self.announced),
            source=None if self.next_page == 1 else "",
            live=len(live),
            missed=sum(known.missed for known in live),
        )

    def keep(self, listed: dict[str, str], policy: PushPolicy, *, has_more: bool) -> list[Push]:
        self.next_page, self.complete = self.next_page + 1, not has_more
        self.announced = max(self.announced, len(listed))
        new = []
        for key, content in listed.items():
            known = self.campaigns.setdefault(key, Remembered())
            known.missed = known.deleted = False
            revived = known.dead not in {None, content}
            if revived:
                known.dead = None
            if key in self.pushes:
                continue
            state = PENDING
            if known.dead:
                state = DEAD_LETTERED
            elif policy is PushPolicy.CHANGED and known.pushed == content:
                state = SKIPPED
            self.pushes[key] = Push(key, state, failures=known.failures if state is PENDING else 0)
            self.contents[key] = content
            new.append(self.pushes[key])
        return new

    def settle(self, key: str, state: PushState, attempts: int) -> Push:
        """Settle a push, perhaps once more than needed, and return what to tell the store."""
        known, push = self.campaigns[key], replace(self.pushes[key], state=state, attempts=attempts)
        known.pushed = self.contents[key] if state is PUSHED else None
        known.failures = push.failures + 1 if state is FAILED else 0
        known.dead = self.contents[key] if state is DEAD_LETTERED else known.dead
        self.pushes[key] = push
        return push

    def finish(self) -> int:
        for key, known in self.campaigns.items():
            if key not in self.pushes:
                known.deleted, known.missed = known.missed, True
                known.dead = None if known.deleted else known.dead
        self.next_page, self.announced, self.complete, self.pushes, self.contents = 1, 0, False, {}, {}
        return sum(known.dead is not None for known in self.campaigns.values())

    def replay(self, key: str, error: str | None) -> None:
        known = self.campaigns[key]
        if error is None:
            known.pushed, known.failures, known.dead = known.dead, 0, None


@dataclass(frozen=True, slots=True)
class KeepPage:
    listed: dict[str, str]
    policy: PushPolicy
    has_more: bool


@dataclass(frozen=True, slots=True)
class SettlePush:
    key: str
    state: PushState
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class FinishRun:
    pass


@dataclass(frozen=True, slots=True)
class ReplayLetter:
    key: str
    error: str | None


@dataclass(frozen=True, slots=True)
class DiscardLetter:
    key: str


Step = KeepPage | SettlePush | FinishRun | ReplayLetter | DiscardLetter


STEP = st.one_of(
    st.builds(KeepPage, st.dictionaries(IDS, CONTENT), st.sampled_from(PushPolicy), st.booleans()),
    st.builds(SettlePush, IDS, st.sampled_from([PUSHED, FAILED, DEAD_LETTERED]), st.integers(1, 3)),
    st.builds(FinishRun),
    st.builds(ReplayLetter, IDS, st.sampled_from([None, "500"])),
    st.builds(DiscardLetter, IDS),
)
LIVES = st.lists(st.lists(STEP, max_size=12), min_size=1, max_size=3)  # steps, each list up to a crash


# What chance seldom brings about: a letter that is replayed in vain, then well, and one that is discarded.
DIES = [KeepPage({"a": "1", "b": "1"}, PushPolicy.ALL, has_more=False), SettlePush("a", DEAD_LETTERED)]
REPLAYED = [*DIES, ReplayLetter("a", "500"), FinishRun(), ReplayLetter("a", None), FinishRun()]
DISCARDED = [*DIES, FinishRun(), DiscardLetter("a"), KeepPage({"a": "1"}, PushPolicy.ALL, has_more=False)]


@example(lives=[REPLAYED, DISCARDED])
@settings(
    max_examples=25, suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture]
)
@given(lives=LIVES)
async def test_the_store_forgets_nothing_and_counts_nothing_twice(url: str, lives: list[list[Step]]) -> None:
    tenant, number, model = uuid.uuid4().hex, 0, Model()
    for steps in lives:
        async with open_store(url, clock=HandClock(LATER), tracer=NoOpTracer()) as store:
            assert await store.begin(run(tenant, number)) == model.resume_point(run(number=number).started_at)
            for step in steps:
                number = await take(step, store, model, tenant, number)
                assert await store.begin(run(tenant, number)) == model.resume_point(run(number=number).started_at)


async def take(step: Step, store: Store, model: Model, tenant: str, number: int) -> int:
    """Take a step in the store and in the model, and return the number of the run that goes on from there."""
    this = run(tenant, number)
    match step:
        case KeepPage(listed, policy, has_more):
            campaigns = [campaign(key, content) for key, content in listed.items()]
            kept = await store.keep_page(this, page(*campaigns, number=model.next_page, has_more=has_more), policy)
            assert kept == model.keep(listed, policy, has_more=has_more)
        case SettlePush(key, state, attempts) if key in model.pushes and model.pushes[key].state not in SETTLED:
            await store.settle(this, model.settle(key, state, attempts))
        case FinishRun():
            assert await store.finish(replace(this, ended_at=NOON, listing=Listing.COMPLETE)) == model.finish()
            return number + 1
        case ReplayLetter(key, error):
            for letter in await store.dead_letters(tenant, key):
                await store.settle_replay(letter, attempts=1, error=error, trace_id=this.trace_id)
                model.replay(key, error)
        case DiscardLetter(key):
            await store.discard(await store.dead_letters(tenant, key))
            if key in model.campaigns:
                model.campaigns[key].dead = None
    return number
