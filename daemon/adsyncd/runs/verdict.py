"""Says what is wrong with a tenant, why, and what would fix it: for its status, for lists, and for the alert `late`.

A tenant may have several troubles; the most severe counts, and of two that are alike the one that `Trouble` has first.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from adsyncd.errors import Problem
from adsyncd.model.run import Listing, Outcome, Run
from adsyncd.model.status import counted, were
from adsyncd.model.tenant import SystemdRef, Tenant, VaultRef
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.facts import Facts, as_sentence, quota_in_words
from adsyncd.runs.lateness import late

_SEVERITIES = list(Severity)
_NUMBERS = re.compile(r"(?<!answered )(?<!HTTP )(?<![\w.-])\d+(?:[.,:]\d+)*(?: ?(?:ms|s|m|h))?(?![\w-])")
_BREAKS_OFF = re.compile(r"circuit breaker|did not answer|no connection|answered 5\d\d|nothing but failures")
_REFUSES_CREDENTIALS = "where the drop-in's credentials point"


def verdict(facts: Facts) -> Verdict | None:
    """Return what is wrong with a tenant; None if nothing is. A paused tenant is paused, whatever went before."""
    return min(_all(facts), key=lambda one: _SEVERITIES.index(one.severity), default=None)


def _all(facts: Facts) -> Iterator[Verdict]:
    """Yield all that is wrong with a tenant, in the order of `Trouble`."""
    if facts.refused:
        yield refused_verdict(facts.id, facts.refused, goes_on=facts.tenant is not None)
    if facts.paused_since:
        yield _paused(facts)
        return
    for judge in (_unrecorded, _failing, late, _partial, _throttled):
        if found := judge(facts):
            yield found


def refused_verdict(tenant_id: str, problems: Sequence[Problem], *, goes_on: bool) -> Verdict:
    """Return the verdict about a tenant whose files have problems; `goes_on`: the last good version is in force."""
    number = counted(len(problems), "problem")
    if goes_on:
        sentence = f"{tenant_id} runs with its last good settings: {number} in its files."
        reason, severity = "files refused: the last good settings are in force", Severity.WARNING
    else:
        sentence = f"{tenant_id} does not run: {number} in its files."
        reason, severity = "files refused: no run starts", Severity.CRITICAL
    return Verdict(
        tenant_id,
        Trouble.REFUSED,
        severity,
        sentence,
        reason,
        tuple(map(str, problems)),
        (*dict.fromkeys(problem.fix for problem in problems if problem.fix),),
    )


def _paused(facts: Facts) -> Verdict:
    last = facts.last
    causes: tuple[str, ...] = ()
    if last and last.outcome is not Outcome.SUCCEEDED:
        causes = (f"Its last run was {last.outcome} {facts.ago(last.ended_at)}: {last.error}.",)
    return Verdict(
        facts.id,
        Trouble.PAUSED,
        Severity.NOTE,
        f"{facts.id} is paused: an operator paused it {facts.ago(facts.paused_since)}.",
        "paused by an operator",
        causes,
        (f"adsyncd resume {facts.id}",),
        facts.paused_since,
    )


def _unrecorded(facts: Facts) -> Verdict | None:
    if facts.unrecorded is None:
        return None
    return Verdict(
        facts.id,
        Trouble.FAILING,
        Severity.CRITICAL,
        f"{facts.id} fails: no run can be recorded.",
        "the database can't be used",
        (as_sentence(facts.unrecorded),),
        ("bring the database back; runs then begin by themselves",),
    )


def _failing(facts: Facts) -> Verdict | None:
    failed = list(takewhile(lambda run: run.outcome in (Outcome.FAILED, Outcome.ABANDONED), facts.runs))
    if not failed or facts.tenant is None:
        return None
    last, error = failed[0], failed[0].error or "its reason is not known"
    runs = "its last run" if len(failed) == 1 else f"its last {len(failed)} runs"
    did = "failed" if last.outcome is Outcome.FAILED else "did not end within sync.run_deadline"
    causes = [as_sentence(error)]
    if well := next((run for run in facts.runs if run.outcome is Outcome.SUCCEEDED), None):
        causes.append(f"The last run that succeeded ended {facts.ago(well.ended_at)}.")
    return Verdict(
        facts.id,
        Trouble.FAILING,
        Severity.CRITICAL,
        f"{facts.id} fails: {runs} {did}.",
        _alike(error.partition("; ")[0], facts.tenant),
        tuple(causes),
        _fixes_of(error, facts, last),
        failed[-1].ended_at if len(failed) < len(facts.runs) else None,
    )


def _fixes_of(error: str, facts: Facts, run: Run) -> tuple[str, ...]:
    """Return what fits to the error of a failed run. Most errors say it themselves, after a semicolon."""
    tenant = facts.tenant
    assert tenant  # noqa: S101 - a tenant without good files runs nothing
    if _REFUSES_CREDENTIALS in error:
        return (f"write the right credentials to {_place(tenant)}; the next run signs in again",)
    if (facts.wait and facts.wait.reason is WaitReason.BREAKER) or _BREAKS_OFF.search(error):
        return (f"contact {tenant.platform.name}; no action is needed here, since adsyncd goes on by itself",)
    if run.outcome is Outcome.ABANDONED:
        if facts.plan and facts.plan.fixes and f"waiting for the {WaitReason.QUOTA}" in error:
            return facts.plan.fixes
        return (f"raise sync.run_deadline; see what the runs wait for: adsyncd runs {tenant.id} --json",)
    _, _, said = error.partition("; ")
    return (said or f"see the trace of the run: adsyncd runs {tenant.id}",)


def _place(tenant: Tenant) -> str:
    """Return where the credentials of a tenant are kept."""
    ref = tenant.credentials
    if isinstance(ref, VaultRef):
        return f"Vault, at {ref.path}"
    return f"the systemd credential {ref.name}" if isinstance(ref, SystemdRef) else f"the variables {ref.prefix}_*"


def _partial(facts: Facts) -> Verdict | None:
    run, tenant = facts.last, facts.tenant
    if run is None or tenant is None or run.outcome is not Outcome.PARTIAL:
        return None
    lost = run.failed + run.dead_lettered
    what, _, reason = (run.error or "").partition(", the first because ")
    fixes = []
    if run.dead_lettered:
        fixes.append(f"fix the cause at {tenant.platform.name}, then: adsyncd dead-letters replay --tenant {tenant.id}")
    if run.failed:
        fixes.append(f"wait: the next run pushes the {counted(run.failed, 'failed campaign')} again")
    if run.listing is Listing.COLLAPSED:
        fixes.append(f"adsyncd pause {tenant.id}, if the listing of {tenant.platform.name} is wrong")
    counts = f"{counted(run.dead_lettered, 'dead letter')}, {run.failed} failed"
    causes = [f"Of these, {counts}.", *([f"The first one because {reason}."] if reason else [])] if lost else []
    return Verdict(
        tenant.id,
        Trouble.PARTIAL,
        Severity.WARNING,
        f"{tenant.id} is partial: {lost} of {counted(run.listed, 'campaign')} {were(run.listed)} not pushed."
        if lost
        else f"{tenant.id} is partial: {what}.",
        _alike(reason.partition("; ")[0] or ("campaigns are dead letters" if lost else what), tenant),
        tuple(causes),
        tuple(fixes) or (f"see adsyncd runs {tenant.id}",),
        run.ended_at if len(facts.runs) > 1 and facts.runs[1].outcome is Outcome.SUCCEEDED else None,
    )


def _throttled(facts: Facts) -> Verdict | None:
    run, tenant = facts.last, facts.tenant
    if run is None or tenant is None or not run.refused:
        return None
    name, quota = tenant.platform.name, quota_in_words(tenant.quota)
    less = f"So {name} allows less, or another program uses the client id {tenant.client_id}."
    return Verdict(
        tenant.id,
        Trouble.THROTTLED,
        Severity.WARNING,
        f"{tenant.id} is answered 429 within its quota: {run.refused} of {counted(run.requests, 'request')}.",
        "answered 429 within the quota",
        (f"adsyncd sent no more than {quota}. {less}",),
        ("state the quota that the platform allows", "give the other program a client id of its own"),
    )


def _alike(text: str, tenant: Tenant) -> str:
    """Return a text without what differs between tenants of the same cause: their names, and numbers but a status."""
    for name in sorted({tenant.id, tenant.client_id}, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", "…", text)
    return _NUMBERS.sub("…", text)
