"""Says why a tenant is late: its runs take longer than its schedule allows, and what it was that took the time.

The time of a run is split by what it waited for; the rest passed until the platform had answered. The largest part is
the cause. Only a tenant whose runs wait for its own quota is told to get more of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from itertools import takewhile

from adsyncd.duration import format_duration
from adsyncd.model.run import Outcome, Run
from adsyncd.model.schedule import intervals
from adsyncd.model.status import counted, were
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.facts import Facts, in_words, quota_in_words
from adsyncd.runs.plan import alternatives, less_often, permits_of, whole_minutes

_TIMES = ("", "", "twice", "three times", "four times", "five times", "six times", "seven times", "eight times")
_MOST_CONCURRENT = 100  # the largest sync.concurrency


class _Part(Enum):
    """What took the time of a run, and the reason of a verdict."""

    QUOTA = "late: runs wait for the quota of their client id"
    PLATFORM_QUOTA = "late: runs wait for the quota that all tenants of {platform} share"
    TOLD = "late: {platform} asks for waits"
    BREAKER = "late: {platform} fails, and its circuit breaker is open"
    FAILURES = "late: requests to {platform} fail and are repeated"
    CREDENTIALS = "late: runs wait for credentials"
    RESOURCES = "late: this machine lacks resources"
    STORE = "late: runs wait for the database"
    ANSWERS = "late: {platform} answers slowly"


_PARTS = {
    WaitReason.QUOTA: _Part.QUOTA,
    WaitReason.PLATFORM_QUOTA: _Part.PLATFORM_QUOTA,
    WaitReason.RETRY_AFTER: _Part.TOLD,
    WaitReason.FEEDBACK: _Part.TOLD,
    WaitReason.BREAKER: _Part.BREAKER,
    WaitReason.BACKOFF: _Part.FAILURES,
    WaitReason.RETRY_BUDGET: _Part.FAILURES,
    WaitReason.CREDENTIALS: _Part.CREDENTIALS,
    WaitReason.RESOURCES: _Part.RESOURCES,
    WaitReason.STORE: _Part.STORE,
}


_CLAUSES = {
    _Part.QUOTA: "waits for the quota of {quota}{use}",
    _Part.PLATFORM_QUOTA: "waits for the quota{shared} that all tenants of {platform} share",
    _Part.TOLD: "passes because {platform} asked for it, by Retry-After or by the limits that it states",
    _Part.BREAKER: "passes because {platform} answered nobody, so that its circuit breaker was open",
    _Part.FAILURES: "passes between attempts: {retries} of its {requests} repeat failed ones",
    _Part.CREDENTIALS: "waits for credentials or for a sign-in",
    _Part.RESOURCES: "waits for resources of this machine, such as open files",
    _Part.STORE: "waits for the database",
    _Part.ANSWERS: "passes until {platform} has answered its {requests}",
}
_FIXES = {
    _Part.PLATFORM_QUOTA: "have {platform} allow more to all its tenants together; adsyncd plan says how much",
    _Part.TOLD: "ask {platform} which limit it applies, and state that as the quota",
    _Part.BREAKER: "contact {platform}; no action is needed here, since adsyncd goes on by itself",
    _Part.FAILURES: "contact {platform}; no action is needed here, since adsyncd goes on by itself",
    _Part.CREDENTIALS: "see why Vault or the sign-in is slow: adsyncd status",
    _Part.RESOURCES: "let the service open more files (LimitNOFILE)",
    _Part.STORE: "see why the database is slow: its disk, or the network to it",
    _Part.ANSWERS: "ask {platform} why it answers slowly",
}
_LESS_OFTEN_HELPS = {_Part.PLATFORM_QUOTA, _Part.TOLD, _Part.ANSWERS}


@dataclass(frozen=True, slots=True)
class _Example:
    """A run that skipped ticks, or the one in progress, and how its time was spent."""

    in_progress: bool
    took_s: float
    waits: Mapping[WaitReason, float]
    listed: int
    requests: int
    retries: int

    def largest_part(self) -> tuple[_Part, float]:
        """Return what took most of its time, and the seconds."""
        parts = {_Part.ANSWERS: max(0.0, self.took_s - sum(self.waits.values()))}
        for reason, waited_s in self.waits.items():
            parts[_PARTS[reason]] = parts.get(_PARTS[reason], 0.0) + waited_s
        part = max(parts, key=lambda part: parts[part])
        return part, parts[part]


def late(facts: Facts) -> Verdict | None:
    """Return the verdict about a tenant whose last run, or the one in progress, skipped ticks; None for another.

    One tick that is skipped though a run takes less than an interval, as after a run by hand, makes no tenant late.
    """
    tenant, progress = facts.tenant, facts.progress
    skipping = list(takewhile(lambda run: run.skipped_ticks, facts.runs))
    skipped_now = progress.skipped_ticks if progress else 0
    if tenant is None or not (skipping or skipped_now):
        return None
    example = _example(facts, skipping)
    due, rarest = _due(tenant, facts)
    once = len(skipping) + bool(skipped_now) == max(skipped_now, _most_skipped(skipping)) == 1
    if once and example.took_s < due.total_seconds():
        return None
    part, part_s = example.largest_part()
    small_pages = part in {_Part.QUOTA, _Part.ANSWERS} and _lists_small_pages(tenant, example)
    clause = _small_pages(tenant, example, part) if small_pages else _clause(tenant, example, part)
    often = f"every {format_duration(due)}" if due == rarest else f"as often as every {format_duration(due)}"
    takes = (
        f"its run in progress has taken {in_words(example.took_s)} so far"
        if example.in_progress
        else f"a run takes {in_words(example.took_s)}"
    )
    cause = (
        f"It is due {often}, and {takes}. "
        f"Of that, {in_words(part_s)} ({part_s / max(example.took_s, 0.001):.0%}) {clause}."
    ).replace("%)", " %)")
    reason = "late: pages are small" if small_pages else part.value.format(platform=tenant.platform.name)
    begun_within = skipping[-1].started_at if len(skipping) < len(facts.runs) and skipping else None
    return Verdict(
        tenant.id,
        Trouble.LATE,
        Severity.WARNING,
        f"{tenant.id} is late: {_skipped(skipping, skipped_now)}.",
        reason,
        (cause, *_result(facts)),
        _fixes(facts, tenant, example, None if small_pages else part, due),
        begun_within or (progress.since if progress and not facts.runs else None),
    )


def _example(facts: Facts, skipping: list[Run]) -> _Example:
    """Return the run that explains best why ticks are skipped.

    That is the latest one, or the one in progress if it has skipped more ticks than those before it.
    """
    if (progress := facts.progress) and progress.skipped_ticks > _most_skipped(skipping):
        took_s, now = (facts.now - progress.since).total_seconds(), progress
        return _Example(True, took_s, now.waits, now.listed, now.requests, now.retries)  # noqa: FBT003 - in progress
    run = skipping[0]
    took_s = (run.ended_at - run.started_at).total_seconds() if run.ended_at else 0.0
    return _Example(False, took_s, run.waits, run.listed, run.requests, run.retries)  # noqa: FBT003 - not in progress


def _most_skipped(runs: list[Run]) -> int:
    return max((run.skipped_ticks for run in runs), default=0)


def _due(tenant: Tenant, facts: Facts) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest time between two ticks. They are computed once a day for a crontab."""
    return intervals(tenant.schedule, facts.now.replace(hour=0, minute=0, second=0, microsecond=0))


def _skipped(skipping: list[Run], skipped_now: int) -> str:
    """Return in words which ticks are skipped."""
    each = {run.skipped_ticks for run in skipping}
    if skipped_now > _most_skipped(skipping):
        return f"its run in progress has skipped {counted(skipped_now, 'tick')}"
    if len(skipping) == 1:
        return f"its last run skipped {counted(max(each), 'tick')}"
    if each == {1}:
        return "every second tick is skipped"
    total = sum(run.skipped_ticks for run in skipping)
    if len(each) == 1:
        return f"{max(each)} of {max(each) + 1} ticks are skipped"
    return f"{total} of the last {total + len(skipping)} ticks were skipped"


def _clause(tenant: Tenant, run: _Example, part: _Part) -> str:
    """Return what a part of the time of a run was spent on."""
    platform = tenant.platform
    return _CLAUSES[part].format(
        platform=platform.name,
        quota=quota_in_words(tenant.quota),
        use=_use(tenant, run),
        shared=f" of {quota_in_words(platform.quota)}" if platform.quota else "",
        requests=counted(run.requests, "request"),
        retries=run.retries,
    )


def _use(tenant: Tenant, run: _Example) -> str:
    """Return how often the requests of a run use up the tightest window of its quota, in words."""
    if not run.requests:
        return ""
    permits = permits_of(run.requests, run.listed, tenant)
    times = max(math.floor(permits / window.requests) for window in tenant.quota.windows)
    if times < 1 or permits <= min(window.requests for window in tenant.quota.windows):
        return ""
    if times == 1:
        return f", which its {counted(run.requests, 'request')} exceed{'s' * (run.requests == 1)}"
    often = _TIMES[times] if times < len(_TIMES) else f"{times} times"
    return f", which its {counted(run.requests, 'request')} use{'s' * (run.requests == 1)} up {often} over"


def _pages(tenant: Tenant, run: _Example) -> int:
    return math.ceil(run.listed / tenant.sync.page_size)


def _lists_small_pages(tenant: Tenant, run: _Example) -> bool:
    """Return whether most requests of a run list pages, and the platform accepts larger ones."""
    _, most = tenant.platform.profile.listing.page_size
    return 2 * _pages(tenant, run) > run.requests > 1 and min(most, run.listed) > tenant.sync.page_size


def _small_pages(tenant: Tenant, run: _Example, part: _Part) -> str:
    size = counted(tenant.sync.page_size, "campaign")
    pages = f"{_pages(tenant, run)} of its {run.requests} requests list pages of {size}"
    verb = "waits for the quota" if part is _Part.QUOTA else f"passes until {tenant.platform.name} has answered"
    return f"{verb}: {pages}"


def _result(facts: Facts) -> tuple[str, ...]:
    """Return what the last run achieved all the same."""
    run = facts.last
    if run is None:
        return ()
    ago = facts.ago(run.ended_at)
    if run.outcome is not Outcome.SUCCEEDED:
        return (f"Its last run was {run.outcome} {ago}: {run.error}.",)
    campaigns = f"{counted(run.listed, 'campaign')} {were(run.listed)}"
    if run.pushed == run.listed:
        did = f"all {campaigns} pushed"
    elif run.pushed or run.skipped:
        did = f"{run.pushed} of {campaigns} pushed, and the others had not changed,"
    else:
        did = f"all {campaigns} stored"
    return (f"Nothing fails: {did} {ago}.",)


def _fixes(facts: Facts, tenant: Tenant, run: _Example, part: _Part | None, due: timedelta) -> tuple[str, ...]:
    """Return the alternatives that fit to what took the time. Small pages are no part."""
    needs = None if run.in_progress else whole_minutes(run.took_s)
    slower = tuple(less_often(tenant, needs, due)) if needs else ()
    if part is _Part.QUOTA:
        return _to_meet_the_quota(facts, tenant, run, needs, due) or slower or ("see adsyncd plan",)
    if part is None:
        most = min(tenant.platform.profile.listing.page_size[1], run.listed)
        return f"sync.page_size = {most}", *slower
    first = _FIXES[part].format(platform=tenant.platform.name)
    if part not in _LESS_OFTEN_HELPS:
        return (first,)
    more = _more_at_once(tenant, run, due) if part is _Part.ANSWERS else ()
    changed = part is _Part.PLATFORM_QUOTA and tenant.sync.push is PushPolicy.ALL
    return first, *more, *slower, *(('sync.push = "changed"',) if changed else ())


def _to_meet_the_quota(
    facts: Facts, tenant: Tenant, run: _Example, needs: timedelta | None, due: timedelta
) -> tuple[str, ...]:
    """Return the fixes of the plan if there is one, or those that follow from the run."""
    if facts.plan and facts.plan.fixes:
        return facts.plan.fixes
    if not run.requests or run.in_progress:
        return ()
    permits = permits_of(run.requests, run.listed, tenant)
    return tuple(setting for _, setting in alternatives(tenant, permits, needs, due))


def _more_at_once(tenant: Tenant, run: _Example, due: timedelta) -> tuple[str, ...]:
    """Return how many pushes at once would do, if pushes take the time and so many are allowed."""
    if 2 * _pages(tenant, run) > run.requests or run.in_progress:
        return ()
    enough = math.ceil(tenant.sync.concurrency * run.took_s / due.total_seconds()) + 1
    return (f"sync.concurrency = {enough}",) if enough <= _MOST_CONCURRENT else ()
