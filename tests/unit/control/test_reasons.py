"""One cause or many: what failed, by reason across tenants."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from adsyncd.control.overview import Failed
from adsyncd.control.reasons import Reasons, failed_runs
from adsyncd.model.failure import SharedReason
from adsyncd.model.run import Outcome
from adsyncd.model.verdict import Severity, Trouble, Verdict
from support.records import NOON, HandClock, run


@dataclass
class Records:
    """A store of which a test says what it knows."""

    letters: list[SharedReason] = field(default_factory=list)
    pushes: list[SharedReason] = field(default_factory=list)
    asked: list[Sequence[str]] = field(default_factory=list)

    async def reasons(self, limit: int) -> list[SharedReason]:
        return self.letters[:limit]

    async def last_failures(self, run_ids: Sequence[str], limit: int) -> list[SharedReason]:
        await anyio.lowlevel.checkpoint()
        self.asked.append(run_ids)
        return self.pushes[:limit]


def worker(name: str, outcome: Outcome | None = None, *, verdict: Verdict | None = None, **changes: Any) -> Any:  # noqa: ANN401 - as far as it is looked at
    """Return a worker whose account has the hash "now"."""
    last = replace(run(name), outcome=outcome, ended_at=NOON, **changes) if outcome else None
    return SimpleNamespace(
        last_run=last,
        verdict=verdict,
        is_of_account=lambda run: run.is_of("now"),
        is_evidence=lambda run: run.is_of("now") and not run.was_cancelled,
    )


def failing(name: str, reason: str) -> Verdict:
    since = NOON - timedelta(hours=len(name))
    return Verdict(name, Trouble.FAILING, Severity.CRITICAL, f"{name} fails", reason, since=since)


def test_runs_that_failed_are_grouped_by_verdict_or_error() -> None:
    workers = {
        "b": worker("b", Outcome.FAILED, error="502"),
        "a": worker("a", Outcome.ABANDONED, error="502"),
        "c": worker("c", Outcome.PARTIAL, error="2 of 3 failed"),
        "d": worker("d"),
        "ee": worker("ee", Outcome.FAILED, verdict=failing("ee", "sign-in refused"), error="401 for x-17"),
        "f": worker("f", Outcome.FAILED, verdict=failing("f", "sign-in refused"), error="401 for x-18"),
        "g": worker("g", Outcome.FAILED, verdict=failing("g", "sign-in refused")),
        "h": worker("h", Outcome.FAILED),
        "i": worker("i", Outcome.FAILED, error="502 of an earlier account", account_hash="then"),
    }
    found = [(one.reason, list(one.tenants), one.number, one.campaigns) for one in failed_runs(workers)]
    assert found == [
        ("sign-in refused", ["ee", "f", "g"], 3, None),
        ("502", ["a", "b"], 2, None),
        ("no reason is known", ["h"], 1, None),
    ]
    assert failed_runs(workers)[0].since == NOON - timedelta(hours=2)
    many = {f"t{number}": worker("t", Outcome.FAILED, error="502") for number in range(9)}
    [one] = failed_runs(many)
    assert (one.number, one.tenants) == (9, ["t0", "t1", "t2", "t3", "t4"])


async def test_campaigns_follow_those_of_the_most_first_with_what_happens_next() -> None:
    records = Records(
        [SharedReason("422: name", 7, ["a"], 1, NOON), SharedReason(None, 1, ["b"], 1, NOON)],
        [SharedReason("timeout", 3, ["a", "b"], 2, NOON)],
    )
    workers = {
        "a": worker("a", Outcome.PARTIAL, failed=3, account_hash="now"),
        "b": worker("b", Outcome.SUCCEEDED),
        "c": worker("c", Outcome.PARTIAL, failed=1, account_hash="then"),
    }
    found = await Reasons(records, HandClock()).of(workers)
    assert [(one.failed, one.reason, one.campaigns, one.number) for one in found] == [
        (Failed.DEAD_LETTERS, "422: name", 7, 1),
        (Failed.PUSHES, "timeout", 3, 2),
        (Failed.DEAD_LETTERS, "no reason is known", 1, 1),
    ]
    assert records.asked == [[run("a").run_id]]
    assert "adsyncd dead-letters replay" in found[0].then
    assert found[1].then == "the next run pushes them again"


async def test_the_database_is_asked_once_in_some_seconds_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    records, clock = Records(), HandClock()
    reasons = Reasons(records, clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(reasons.of, {})
    assert len(records.asked) == 1
    later = clock.monotonic() + 10
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    await reasons.of({})
    assert len(records.asked) == 2
