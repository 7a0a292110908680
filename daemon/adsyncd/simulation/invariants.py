"""The invariants of every world, checked by what arrives at the platforms and what the database commits.

The daemon's own reports are not used.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import httpx

from adsyncd.model.campaign import PushState
from adsyncd.model.run import Outcome
from adsyncd.model.status import counted
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.runs.lease import TTL_S
from adsyncd.simulation.durations import longest_run_s, longest_wait_s
from adsyncd.simulation.listings import Listings
from adsyncd.simulation.promises import Invariant, Violation
from adsyncd.simulation.senders import Senders
from adsyncd.simulation.world import Span, World

_MOST_VIOLATIONS = 20
_LISTINGS_TO_DELETE = 2
_MOST_REPEATS = 5  # pages by one cursor in a row: it is asked again if the store could not keep its page
_DONE = frozenset({PushState.PUSHED, PushState.SKIPPED, PushState.STORED})
_THROTTLED = b'"code":4290'  # how the second platform says it
_SECRET = re.compile("(old|new)-password|mock-token-")
_LATEST_S = 5.0  # from a tick to the beginning of its run


@dataclass(slots=True)
class RunSeen:
    """A run as the database reported it: the keys and states of its pushes, by campaign.

    `new`: the campaigns that it found first, or found again after a deletion.
    """

    run_id: str
    tenant: str
    begun_s: float
    ended_s: float = math.inf
    outcome: Outcome | None = None
    requests: int = 0
    new: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    @property
    def took_s(self) -> float:
        """How long it took, including the time in which the daemon was down."""
        return self.ended_s - self.begun_s


@dataclass(frozen=True, slots=True)
class _Lived:
    span: Span
    tenants: set[str]


class InvariantChecker:
    """Observes all events of a world, keeps their digest, and collects violations.

    `elapsed` returns the seconds since the start. `log` is called with each event as a line.
    """

    def __init__(self, world: World, elapsed: Callable[[], float], log: Callable[[str], None]) -> None:
        self._world = world
        self._elapsed = elapsed
        self._log = log
        self._digest = hashlib.blake2b(digest_size=16)
        self._tenants = {tenant.id: tenant for life in world.lives for tenant in life.tenants}
        self._senders = Senders(world)
        pushing = {one.client_id for one in self._tenants.values() if one.sync.push is not PushPolicy.NONE}
        self._pullers = world.links.keys() - pushing
        self._keys: dict[str, tuple[str, str]] = {}  # idempotency key -> client id, campaign
        self._tokens: dict[tuple[str, str], str] = {}  # host and token -> the first client id that used it there
        # When even a healthy tenant may fail.
        self._excused = *world.outages, *world.hangs, *world.failures, *world.stalls
        self._life_began_s = 0.0
        self._lived: list[_Lived] = []
        self._listings = Listings(lambda client_id: world.campaigns[client_id].at(elapsed()))
        self._live: dict[str, set[str]] = {}  # by tenant, the campaigns that the store has not marked deleted
        self._ticked: dict[str, float] = {}  # by tenant, the time of a tick whose run has not begun
        self.runs: dict[str, RunSeen] = {}
        self.requests = 0
        self.pushes = 0
        self.violations: list[Violation] = []

    @property
    def digest(self) -> str:
        """A hash of the course of events."""
        return self._digest.hexdigest()

    def note(self, *event: object) -> None:
        """Add an event to the digest and the log."""
        line = f"{self._elapsed():.6f} {' '.join(map(str, event))}"
        self._digest.update(line.encode())
        self._log(line)

    def break_(self, invariant: Invariant, what: str) -> None:
        """Record a violation."""
        self.note("violation", invariant.name, what)
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(Violation(invariant, self._elapsed(), what))

    def life_begins(self, guest: Span | None = None) -> None:
        """Record that a life begins; `guest`: from when to when of it another process runs.

        Runs that the guest resumes and leaves open when it is killed may be late.
        """
        self.note("a life begins")
        self._life_began_s = self._elapsed()
        self._ticked.clear()
        if guest is not None:
            stays = Span(self._life_began_s + guest.from_s, self._life_began_s + guest.to_s)
            self._excused = (*self._excused, replace(stays, to_s=stays.to_s + TTL_S))

    def life_ends(self, tenants: Iterable[Tenant]) -> None:
        """Record that the life is killed or told to stop. `tenants`: those of its drop-ins."""
        self.note("a life ends")
        self._lived.append(_Lived(Span(self._life_began_s, self._elapsed()), {tenant.id for tenant in tenants}))

    def ticked(self, tenant_id: str) -> None:
        """Record a tick of a tenant."""
        self._ticked.setdefault(tenant_id, self._elapsed())

    # Requests at the platforms.

    def arrived(self, request: httpx.Request) -> None:
        """Check a request that arrived at a platform."""
        client_id = self._senders.client_id(request)
        self.requests += 1
        self.note("arrived", client_id, request.method, request.url.raw_path)
        token = self._senders.token(request)
        if token and (owner := self._tokens.setdefault((request.url.host, token), client_id)) != client_id:
            self.break_(Invariant.TOKENS, f"{client_id} came with a token of {owner}")
        if _SECRET.search(str(request.url)):
            self.break_(Invariant.PRIVATE, f"{client_id} asked for an address with a secret")
        if client_id in self._pullers and request.method != "GET" and not request.url.path.endswith("/token"):
            self.break_(Invariant.PULLED, f"{client_id} was sent a {request.method}")
        key = request.headers.get("idempotency-key")
        if key is not None:
            campaign = request.url.path.split("/")[-2]
            if self._keys.get(key) != (client_id, campaign):
                self.break_(Invariant.JOURNALED, f"{client_id}: a push of {campaign} arrived that no run owes")

    def answered(self, request: httpx.Request, status: int, body: bytes) -> None:
        """Check a platform's answer."""
        client_id = self._senders.client_id(request)
        self.note("answered", client_id, status)
        throttled = status == HTTPStatus.TOO_MANY_REQUESTS or (client_id in self._pullers and _THROTTLED in body)
        if throttled and self._world.sick.get(client_id) != "absurd":
            self.break_(Invariant.QUOTA, f"{client_id} was refused for its quota")

    def delivered(self, answer: httpx.Response, owner: str) -> None:
        """Record that a process of the daemon got an answer."""
        client_id = self._senders.client_id(answer.request)
        self._listings.delivered(client_id, answer, owner)
        if self._listings.repeats(client_id) > _MOST_REPEATS:
            self.break_(Invariant.ENDS, f"{client_id} follows one cursor again and again")

    # Commits of the database.

    def tell(self, what: str, *values: object) -> None:
        """Handle an event of the database; see `memory._TOLD`."""
        self.note(what, *values)
        getattr(self, f"_{what}")(*values)

    def _begun(self, run_id: str, tenant: str) -> None:
        now = self._elapsed()
        self.runs[run_id] = RunSeen(run_id, tenant, now)
        late_s = now - self._ticked.pop(tenant, now)
        if late_s > _LATEST_S and self._is_healthy(tenant) and not self._is_excused(Span(now - late_s, now)):
            self.break_(Invariant.ISOLATION, f"{run_id}, healthy, began {late_s:.0f} s late")

    def _owed(self, run_id: str, campaign: str, key: str, state: str) -> None:
        run = self.runs[run_id]
        live = self._live.setdefault(run.tenant, set())
        if campaign not in live:
            run.new.add(campaign)
            live.add(campaign)
        run.keys[campaign], run.states[campaign] = key, state
        self._keys[key] = self._tenants[run.tenant].client_id, campaign
        self._check_pulled(run, campaign, state)

    def _settled(self, run_id: str, campaign: str, state: str) -> None:
        run = self.runs[run_id]
        run.states[campaign] = state
        self._check_pulled(run, campaign, state)

    def _check_pulled(self, run: RunSeen, campaign: str, state: str) -> None:
        pulls = self._tenants[run.tenant].sync.push is PushPolicy.NONE
        if pulls != (state == PushState.STORED):
            self.break_(Invariant.PULLED, f"{run.run_id} enters {campaign} as {state}")

    def _ended(self, run_id: str, outcome: str, *counts_and_error: Any) -> None:  # noqa: ANN401 - columns of a run
        *told, requests, retries, error = counts_and_error
        run = self.runs[run_id]
        run.ended_s, run.outcome, run.requests = self._elapsed(), Outcome(outcome), requests
        self._ticked.pop(run.tenant, None)  # ticks during the run were skipped
        states = list(run.states.values())
        pending = states.count(PushState.PENDING)
        done = [states.count(state) for state in (PushState.PUSHED, PushState.SKIPPED, PushState.STORED)]
        done.append(states.count(PushState.DEAD_LETTERED))
        counted = [len(states), *done, states.count(PushState.FAILED) + pending]
        if counted != told:
            self.break_(Invariant.RECONCILED, f"{run_id} says {told}, its campaigns {counted}")
        if pending and run.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
            self.break_(Invariant.RECONCILED, f"{run_id} is {outcome}, and {pending} of its pushes are pending")
        if error is not None and error.startswith("internal error"):
            self.break_(Invariant.SOUND, f"{run_id} ended with an {error}")
        if run.outcome is Outcome.SUCCEEDED and (missed := self._missed(run)):
            self.break_(Invariant.COMPLETE, f"{run.run_id} succeeded without {', '.join(sorted(missed))}")
        if self._world.sick.get(self._tenants[run.tenant].client_id) == "odd":
            self._check_odd(run, error)
        if self._is_healthy(run.tenant):
            self._check_unaffected(run, retries, error)

    def _marked_deleted(self, tenant: str, campaign: str) -> None:
        self._live[tenant].discard(campaign)
        client_id = self._tenants[tenant].client_id
        if self._listings.was_pieced(client_id):
            self.break_(Invariant.DELETED, f"{tenant}: {campaign} was marked by a listing that was pieced together")
        is_there = campaign in self._world.campaigns[client_id].at(self._elapsed())
        if is_there and self._listings.left_out(client_id, campaign) < _LISTINGS_TO_DELETE:
            self.break_(Invariant.DELETED, f"{tenant}: {campaign} was marked deleted, and is there")

    def _check_odd(self, run: RunSeen, error: str | None) -> None:
        """Check that a tenant whose only fault is odd campaigns completes its runs."""
        if self._is_excused(Span(run.begun_s, run.ended_s)):
            return
        missed = self._missed(run) - self._world.unusable[self._tenants[run.tenant].client_id]
        if missed or run.outcome not in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
            self.break_(Invariant.READ, f"{run.run_id} is {run.outcome} without {sorted(missed)}: {error}")

    def _missed(self, run: RunSeen) -> set[str]:
        """Return the campaigns that existed all the time and are not done, except those left out of the listing."""
        client_id = self._tenants[run.tenant].client_id
        there = self._world.campaigns[client_id].throughout(self._span_of(run))
        done = {id_ for id_, state in run.states.items() if state in _DONE}
        return {id_ for id_ in there - done if not self._listings.left_out(client_id, id_)}

    def _check_unaffected(self, run: RunSeen, retries: int, error: str | None) -> None:
        tenant, span = self._tenants[run.tenant], self._span_of(run)
        changes = self._world.campaigns[tenant.client_id].states[1:]
        if self._is_excused(Span(run.begun_s, run.ended_s)):
            return
        if any(span.from_s <= since_s <= span.to_s for since_s, _, _ in changes):
            return
        if run.outcome is not Outcome.SUCCEEDED and not (run.outcome is Outcome.PARTIAL and self._lost_most(run)):
            self.break_(Invariant.ISOLATION, f"{run.run_id}, healthy, is {run.outcome}: {error}")
        if retries:
            self.break_(Invariant.ISOLATION, f"{run.run_id}, healthy, had {counted(retries, 'retry')}")
        took_s, most_s = run.took_s, longest_run_s(self._world, tenant, run.requests)
        if took_s > most_s:
            self.break_(
                Invariant.ISOLATION, f"{run.run_id}, healthy, took {took_s:.0f} s, at most {most_s:.0f} s alone"
            )

    def _lost_most(self, run: RunSeen) -> bool:
        """Return whether a run found less than half of the campaigns known before it."""
        before = self._live.get(run.tenant, set()) - run.new
        return 2 * len(before - run.states.keys()) > len(before)

    def _span_of(self, run: RunSeen) -> Span:
        """Return the time from a run's listing, perhaps an earlier run's, to its end."""
        kept_s = self._tenants[run.tenant].sync.list_cache.total_seconds()
        return Span(max(0.0, run.begun_s - kept_s), run.ended_s)

    def _is_healthy(self, tenant: str) -> bool:
        return self._tenants[tenant].client_id not in self._world.sick

    def _is_excused(self, span: Span) -> bool:
        """Return whether a fault of the surroundings excuses every run in this span, up to now."""
        return span.from_s < self._life_began_s or any(span.overlaps(other) for other in self._excused)

    # The final state.

    def check_ledger(self, tenant: Tenant, page: Mapping[str, Any]) -> None:
        """Compare a tenant's runs with the platform's ledger of its client id."""
        for window in tenant.quota.windows:
            largest = page["largest_windows"].get(f"{window.per.total_seconds():g}", 0)
            if largest > window.requests:
                self.break_(Invariant.QUOTA, f"{tenant.id} got {counted(largest, 'request')} in {window.per}")
        self.pushes += page["effects_total"]
        for campaign, effects in page["effects"].items():
            for key, times in effects.items():
                if times > 1 or self._keys.get(key) != (tenant.client_id, campaign):
                    self.break_(Invariant.ONCE, f"{tenant.id}: {campaign} took effect {times} times by {key}")
        for run in self.runs.values():
            if run.tenant != tenant.id:
                continue
            for campaign, state in run.states.items():
                if state == PushState.PUSHED and run.keys[campaign] not in page["effects"].get(campaign, {}):
                    self.break_(Invariant.KEPT, f"{run.run_id} says that it pushed {campaign}, the platform does not")

    def check_database(self, content: str) -> None:
        """Check that the database, as SQL, holds no secret."""
        if found := _SECRET.search(content):
            self.break_(Invariant.PRIVATE, f"the database has {found[0]}")

    def is_right_about(self, tenant: Tenant, live: set[str]) -> bool:
        """Return whether the campaigns that the store has not marked deleted are those of the platform."""
        return live == self._world.campaigns[tenant.client_id].at(self._elapsed())

    def check_campaigns(self, tenant: Tenant, live: set[str]) -> None:
        """Check that the store and the platform have the same campaigns in the end."""
        if not self.is_right_about(tenant, live):
            wrong = live ^ self._world.campaigns[tenant.client_id].at(self._elapsed())
            self.break_(Invariant.DELETED, f"in the end {tenant.id} is wrong about {', '.join(sorted(wrong))}")

    def check_progress(self) -> None:
        """Check that no tenant waited longer for the end of a run than its schedule and the faults explain."""
        for tenant in self._world.tenants:
            ends = sorted(run.ended_s for run in self.runs.values() if run.tenant == tenant.id and run.outcome)
            last_s = self._lived[-1].span.to_s
            for gap in map(Span, [0.0, *ends], [*(end for end in ends if end < last_s), last_s]):
                lived = [life for life in self._lived if life.span.overlaps(gap) and tenant.id in life.tenants]
                waited_s = sum(min(life.span.to_s, gap.to_s) - max(life.span.from_s, gap.from_s) for life in lived)
                most_s = longest_wait_s(self._world, tenant, len(lived))
                if waited_s > most_s:
                    what = f"{tenant.id} had no run that ended from {gap.from_s:.0f} to {gap.to_s:.0f} s"
                    self.break_(Invariant.PROGRESS, f"{what}, {waited_s:.0f} s of them alive, at most {most_s:.0f} s")
