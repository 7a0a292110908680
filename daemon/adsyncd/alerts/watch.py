"""Keeps which alerts of which tenants fire, and reports every change.

    a run ends ──► facts from the store ──► rules ──┐
    every half minute: overdue tenants ─────────────┴─► changes ──► log, metric, span event, deliveries; the store

The facts are read from the store each time and the alerts are kept there, so that after a restart or a manual run no
alert fires twice and no end goes unreported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

import anyio
import structlog
from opentelemetry.trace import get_current_span

from adsyncd.alerts.delivery import Connect, Delivery
from adsyncd.alerts.receivers import Receiver
from adsyncd.alerts.rules import Facts, Verdicts, judge, late, no_success, overdue_at, runs_needed
from adsyncd.clock import Clock
from adsyncd.errors import AdsyncdError, Retry, StoreError
from adsyncd.model.alert import Alert, AlertKey, AlertName
from adsyncd.model.run import Run
from adsyncd.model.tenant import Tenant
from adsyncd.runs.facts import Facts as TenantFacts
from adsyncd.runs.success import got_through
from adsyncd.telemetry.instruments import ALERT, ALERTS, EVENT_FIRES, EVENT_RESOLVED, Instruments
from adsyncd.telemetry.repetition import Repetition

_log = structlog.stdlib.get_logger(__name__)

_CHECK_S = 30.0


class AlertStore(Protocol):
    """The part of `adsyncd.store.Store` that the watch uses."""

    async def runs(self, tenant: str | None, limit: int) -> list[Run]:
        """Return a tenant's latest runs, newest first."""

    async def oldest_dead_letter(self, tenant: str) -> datetime | None:
        """Return since when a tenant's oldest dead letter is one."""

    async def alerts(self) -> list[Alert]:
        """Return all stored alerts."""

    async def keep_alert(self, alert: Alert) -> None:
        """Store an alert's state. Resolved and delivered alerts are deleted."""


@dataclass(slots=True)
class _Watched:
    """A tenant, its last known success, and the time from which it is overdue."""

    tenant: Tenant
    well_at: datetime
    overdue_at: datetime | None

    def was_well(self, at: datetime, took: timedelta) -> None:
        """Record a successful run."""
        self.well_at, self.overdue_at = at, overdue_at(self.tenant, at, took)


class AlertWatch:
    """Fires each alert once when it begins, resolves it once when it ends, and has both delivered.

    A receiver that gets each change once gets it even across restarts: the store keeps a change until then.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        store: AlertStore,
        *,
        connect: Connect,
        clock: Clock,
        random: Random,
        instruments: Instruments,
    ) -> None:
        self._store = store
        self._clock = clock
        self._instruments = instruments
        self._always_told = all(receiver.repeat for receiver in receivers)
        self._deliveries = [
            Delivery(receiver, _ignore if receiver.repeat else self._told, connect=connect, clock=clock, random=random)
            for receiver in receivers
        ]
        self._tenants: dict[str, _Watched] = {}
        self._alerts: dict[AlertKey, Alert] = {}  # those that fire, and those whose end is not delivered yet
        self._unsaved: dict[AlertKey, Alert] = {}
        self._said = Repetition()

    @property
    def firing(self) -> list[Alert]:
        """The alerts that fire."""
        return [alert for alert in self._alerts.values() if alert.fires]

    async def recall(self) -> None:
        """Load the alerts from the store. Raises StoreError."""
        for alert in await self._store.alerts():
            self._alerts[alert.key] = alert
            self._measure(alert)
            for delivery in self._deliveries:
                if delivery.receiver.repeat or not alert.told:
                    delivery.take(alert)
        if self._always_told:  # the settings had other receivers when they were stored
            await self._told(list(self._alerts.values()))

    def add(self, tenant: Tenant) -> None:
        """Watch a tenant. Its time for a successful run starts now."""
        now = self._clock.now()
        self._tenants[tenant.id] = _Watched(tenant, now, overdue_at(tenant, now, tenant.sync.run_deadline))

    def change(self, tenant: Tenant) -> None:
        """Watch a tenant by its new settings. If they change when it is overdue, its time starts again."""
        watched = self._tenants[tenant.id]
        old, watched.tenant = watched.tenant, tenant
        if (old.schedule, old.alerts) != (tenant.schedule, tenant.alerts):
            watched.overdue_at = overdue_at(tenant, self._clock.now(), tenant.sync.run_deadline)

    def remove(self, tenant_id: str) -> None:
        """Stop watching a tenant. Its firing alerts are resolved soon."""
        del self._tenants[tenant_id]

    async def ended(self, run: Run, sign_in_error: AdsyncdError | None) -> None:
        """Apply the rules after a run that was just recorded. `sign_in_error`: why the last sign-in failed, if it did.

        Changes become events of the current span. Tenants that are not watched are ignored, and so is a run that an
        operator cancelled. Raises nothing: after a failure of the store, the next run is judged.
        """
        if run.tenant not in self._tenants or run.was_cancelled:
            return
        watched = self._tenants[run.tenant]
        settings = watched.tenant.alerts
        now = self._clock.now()
        if got_through(settings, run):
            watched.was_well(now, now - run.started_at)
        try:
            known = await self._store.runs(run.tenant, runs_needed(settings))
            oldest = await self._store.oldest_dead_letter(run.tenant)
        except StoreError as error:
            _log.warning("alerts not judged", tenant=run.tenant, error=str(error))
            return
        refusal = None if sign_in_error is None else str(sign_in_error)
        retried = sign_in_error is not None and sign_in_error.retry is not Retry.NEVER
        ended = [past for past in known if past.ended_at and not past.was_cancelled and past.is_of(run.account_hash)]
        facts = Facts(ended, refusal, oldest, retried)
        lateness = late(TenantFacts(run.tenant, now, watched.tenant, facts.runs))
        self._apply(run.tenant, {**judge(settings, facts, now), **lateness})
        await self._save()

    def skipped(self, facts: TenantFacts) -> None:
        """Apply the rule about lateness after a tick was skipped. Its changes are saved with those of the next look."""
        if facts.id in self._tenants:
            self._apply(facts.id, {name: wrong for name, wrong in late(facts).items() if wrong})

    async def run(self) -> None:
        """Look for overdue tenants and deliver until cancelled; then deliver the rest for a few seconds."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._check_repeatedly)
                for delivery in self._deliveries:
                    tasks.start_soon(delivery.run)
                    if delivery.receiver.repeat:
                        tasks.start_soon(self._repeat, delivery, delivery.receiver.repeat.total_seconds())
        finally:
            with anyio.CancelScope(shield=True):
                await self._save()

    async def _check_repeatedly(self) -> None:
        """Look repeatedly for what no run's end shows: no run succeeds, or the tenant is gone."""
        while True:
            for tenant_id, watched in list(self._tenants.items()):
                if self._is_overdue(watched):
                    well = await self._succeeded_elsewhere(watched)
                    wrong = None if well else no_success(watched.tenant, watched.well_at)
                    self._apply(tenant_id, {AlertName.NO_SUCCESS: wrong})
            for alert in [alert for alert in self._alerts.values() if alert.tenant not in self._tenants]:
                self._apply(alert.tenant, {alert.name: None})
            await self._save()
            await anyio.sleep(_CHECK_S)

    def _is_overdue(self, watched: _Watched) -> bool:
        return watched.overdue_at is not None and watched.overdue_at <= self._clock.now()

    async def _succeeded_elsewhere(self, watched: _Watched) -> bool:
        """Record another process's latest successful run; return whether the tenant is no longer overdue."""
        try:
            latest = await self._store.runs(watched.tenant.id, runs_needed(watched.tenant.alerts))
        except StoreError:
            return False
        for run in latest:
            if run.ended_at and run.ended_at > watched.well_at and got_through(watched.tenant.alerts, run):
                watched.was_well(run.ended_at, run.ended_at - run.started_at)
                break
        return not self._is_overdue(watched)

    async def _repeat(self, delivery: Delivery, every_s: float) -> None:
        while True:
            await anyio.sleep(every_s)
            for alert in self._alerts.values():
                if alert.fires:
                    delivery.take(alert)

    def _apply(self, tenant_id: str, verdicts: Verdicts) -> None:
        now = self._clock.now()
        for name, wrong in verdicts.items():
            old = self._alerts.get((tenant_id, name))
            fires = old is not None and old.fires
            if wrong is not None and not fires:
                self._announce(Alert(tenant_id, name, now, wrong, told=self._always_told))
            elif wrong is None and old is not None and fires:
                self._announce(replace(old, resolved_at=max(now, old.since), told=self._always_told))

    def _announce(self, alert: Alert) -> None:
        """Report everywhere that an alert fires or is resolved."""
        self._remember(alert)
        self._measure(alert)
        get_current_span().add_event(EVENT_FIRES if alert.fires else EVENT_RESOLVED, {ALERT: alert.name.value})
        known = {"alert": alert.name.value, "severity": alert.name.severity, "tenant": alert.tenant}
        if alert.fires:
            log = _log.error if alert.name.severity == "critical" else _log.warning
            log("alert fires", **known, summary=alert.summary)
        else:
            _log.info("alert resolved", **known, since=alert.since.isoformat())
        for delivery in self._deliveries:
            delivery.take(alert)

    def _measure(self, alert: Alert) -> None:
        """Export whether an alert fires. The series of a removed tenant ends with its alert."""
        of = {"tenant": alert.tenant, "alert": alert.name.value, "severity": alert.name.severity}
        if alert.fires or alert.tenant in self._tenants:
            self._instruments.set(ALERTS, int(alert.fires), **of)
        else:
            self._instruments.end(ALERTS, **of)

    async def _told(self, alerts: Sequence[Alert]) -> None:
        """Mark delivered states as told, unless a newer state has replaced them."""
        for alert in alerts:
            if self._alerts.get(alert.key) is alert:
                self._remember(replace(alert, told=True))
        await self._save()

    def _remember(self, alert: Alert) -> None:
        self._unsaved[alert.key] = alert
        if alert.fires or not alert.told:
            self._alerts[alert.key] = alert
        else:
            self._alerts.pop(alert.key, None)

    async def _save(self) -> None:
        """Store what changed; failed writes are repeated at the next call.

        Several calls may be in progress at once: a state stays unsaved until it is stored or replaced by a newer one.
        """
        for alert in list(self._unsaved.values()):
            if self._unsaved.get(alert.key) is not alert:
                continue
            try:
                await self._store.keep_alert(alert)
            except StoreError as error:
                log = _log.warning if self._said.is_news("save", str(error), self._clock.monotonic()) else _log.debug
                log("alert not kept", error=str(error))
                return
            self._said.over("save")
            if self._unsaved.get(alert.key) is alert:
                del self._unsaved[alert.key]


async def _ignore(_alerts: Sequence[Alert]) -> None:
    """Record nothing: a receiver that gets repetitions needs no record."""
