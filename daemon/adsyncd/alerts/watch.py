"""Watches over all tenants: which alerts fire, since when, and who has to hear of it.

    a run ends ──► facts from the store ──► rules ──┐
    every half minute: who is overdue? ─────────────┴─► what changed ──► log, metric, span event, couriers; the store

The store is asked for the facts each time and keeps the alerts, so that neither a restart nor a run by hand is a
reason to fire twice, or to forget to say that something is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

import anyio
import structlog
from opentelemetry.trace import get_current_span

from adsyncd.alerts.delivery import Connect, Courier
from adsyncd.alerts.receivers import Receiver
from adsyncd.alerts.rules import Facts, Verdicts, got_through, judge, no_success, overdue_at, runs_needed
from adsyncd.clock import Clock
from adsyncd.errors import AdsyncdError, StoreError
from adsyncd.model.alert import Alert, AlertKey, AlertName
from adsyncd.model.run import Run
from adsyncd.model.tenant import Tenant
from adsyncd.telemetry.instruments import ALERT, ALERTS, EVENT_FIRES, EVENT_RESOLVED, Instruments

_log = structlog.stdlib.get_logger(__name__)

_CHECK_S = 30.0


class Memory(Protocol):
    """The store, as the watch sees it. See `adsyncd.store.Store`."""

    async def runs(self, tenant: str | None, limit: int) -> list[Run]:
        """Return a tenant's latest runs, newest first."""

    async def oldest_dead_letter(self, tenant: str) -> datetime | None:
        """Return when a tenant's oldest dead letter died."""

    async def alerts(self) -> list[Alert]:
        """Return all alerts that are kept."""

    async def keep_alert(self, alert: Alert) -> None:
        """Keep how an alert stands; one that is over, and known to be, goes."""


@dataclass(slots=True)
class _Watched:
    """A tenant, the last instant at which it was well for all we know, and the one from which it is not."""

    tenant: Tenant
    well_at: datetime
    overdue_at: datetime | None

    def was_well(self, at: datetime, took: timedelta) -> None:
        """Take note of a run that got through."""
        self.well_at, self.overdue_at = at, overdue_at(self.tenant, at, took)


class Watch:
    """Fires each alert once when it begins and resolves it once when it is over, and sees to it that this is told.

    Receivers that want to hear once of each change do so across restarts: until they have, the store remembers.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        memory: Memory,
        *,
        connect: Connect,
        clock: Clock,
        random: Random,
        instruments: Instruments,
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._instruments = instruments
        self._nobody_to_tell = all(receiver.repeat for receiver in receivers)
        self._couriers = [
            Courier(receiver, _ignore if receiver.repeat else self._told, connect=connect, clock=clock, random=random)
            for receiver in receivers
        ]
        self._tenants: dict[str, _Watched] = {}
        self._alerts: dict[AlertKey, Alert] = {}  # those that fire, and those whose end has to be told yet
        self._unsaved: dict[AlertKey, Alert] = {}

    async def recall(self) -> None:
        """Take up the alerts that the store knows. Raises StoreError."""
        for alert in await self._memory.alerts():
            self._alerts[alert.key] = alert
            self._instruments.set(ALERTS, int(alert.fires), tenant=alert.tenant, alert=alert.name.value)
            for courier in self._couriers:
                if courier.receiver.repeat or not alert.told:
                    courier.take(alert)
        if self._nobody_to_tell:  # though there was somebody when they were kept
            await self._told(list(self._alerts.values()))

    def add(self, tenant: Tenant) -> None:
        """Watch over a tenant. It has time from now on for a run that gets through."""
        now = self._clock.now()
        self._tenants[tenant.id] = _Watched(tenant, now, overdue_at(tenant, now, tenant.sync.run_deadline))

    def change(self, tenant: Tenant) -> None:
        """Watch over a tenant by its new settings. If they say otherwise when it is overdue, its time starts anew."""
        watched = self._tenants[tenant.id]
        old, watched.tenant = watched.tenant, tenant
        if (old.schedule, old.alerts) != (tenant.schedule, tenant.alerts):
            watched.overdue_at = overdue_at(tenant, self._clock.now(), tenant.sync.run_deadline)

    def remove(self, tenant_id: str) -> None:
        """Watch over a tenant no more. The alerts that fire for it are over soon."""
        del self._tenants[tenant_id]

    async def ended(self, run: Run, sign_in_error: AdsyncdError | None) -> None:
        """Judge a tenant by a run that was recorded just now. `sign_in_error`: why the last sign-in failed, if it did.

        What changes becomes an event of the current span. A tenant that is not watched over is not judged. Raises
        nothing: what the store can't tell now is judged after the next run.
        """
        if run.tenant not in self._tenants:
            return
        watched = self._tenants[run.tenant]
        settings = watched.tenant.alerts
        now = self._clock.now()
        if got_through(settings, run):
            watched.was_well(now, now - run.started_at)
        try:
            known = await self._memory.runs(run.tenant, runs_needed(settings))
            oldest = await self._memory.oldest_dead_letter(run.tenant)
        except StoreError as error:
            _log.warning("alerts not judged", tenant=run.tenant, error=str(error))
            return
        refusal = None if sign_in_error is None else str(sign_in_error)
        facts = Facts([past for past in known if past.ended_at], refusal, oldest)
        self._apply(run.tenant, judge(settings, facts, now))
        await self._save()

    async def run(self) -> None:
        """Watch the clock and deliver, until cancelled; then for a few seconds what is left to be delivered."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._check_all)
                for courier in self._couriers:
                    tasks.start_soon(courier.run)
                    if courier.receiver.repeat:
                        tasks.start_soon(self._repeat, courier, courier.receiver.repeat.total_seconds())
        finally:
            with anyio.CancelScope(shield=True):
                await self._save()

    async def _check_all(self) -> None:
        """Look again and again for what no run's end shows: that there is none, or no such tenant any more."""
        while True:
            for tenant_id, watched in list(self._tenants.items()):
                if self._is_overdue(watched):
                    well = await self._is_well_elsewhere(watched)
                    wrong = None if well else no_success(watched.tenant, watched.well_at)
                    self._apply(tenant_id, {AlertName.NO_SUCCESS: wrong})
            for alert in [alert for alert in self._alerts.values() if alert.tenant not in self._tenants]:
                self._apply(alert.tenant, {alert.name: None})
            await self._save()
            await anyio.sleep(_CHECK_S)

    def _is_overdue(self, watched: _Watched) -> bool:
        return watched.overdue_at is not None and watched.overdue_at <= self._clock.now()

    async def _is_well_elsewhere(self, watched: _Watched) -> bool:
        """Ask the store whether another process's run has got through lately, and take note of it."""
        try:
            latest = await self._memory.runs(watched.tenant.id, runs_needed(watched.tenant.alerts))
        except StoreError:
            return False
        for run in latest:
            if run.ended_at and run.ended_at > watched.well_at and got_through(watched.tenant.alerts, run):
                watched.was_well(run.ended_at, run.ended_at - run.started_at)
                break
        return not self._is_overdue(watched)

    async def _repeat(self, courier: Courier, every_s: float) -> None:
        while True:
            await anyio.sleep(every_s)
            for alert in self._alerts.values():
                if alert.fires:
                    courier.take(alert)

    def _apply(self, tenant_id: str, verdicts: Verdicts) -> None:
        now = self._clock.now()
        for name, wrong in verdicts.items():
            old = self._alerts.get((tenant_id, name))
            fires = old is not None and old.fires
            if wrong is not None and not fires:
                self._announce(Alert(tenant_id, name, now, wrong, told=self._nobody_to_tell))
            elif wrong is None and old is not None and fires:
                self._announce(replace(old, resolved_at=max(now, old.since), told=self._nobody_to_tell))

    def _announce(self, alert: Alert) -> None:
        """Say in all places that an alert began to fire, or is over."""
        self._remember(alert)
        self._instruments.set(ALERTS, int(alert.fires), tenant=alert.tenant, alert=alert.name.value)
        get_current_span().add_event(EVENT_FIRES if alert.fires else EVENT_RESOLVED, {ALERT: alert.name.value})
        known = {"alert": alert.name.value, "severity": alert.name.severity, "tenant": alert.tenant}
        if alert.fires:
            log = _log.error if alert.name.severity == "critical" else _log.warning
            log("alert fires", **known, summary=alert.summary)
        else:
            _log.info("alert resolved", **known, since=alert.since.isoformat())
        for courier in self._couriers:
            courier.take(alert)

    async def _told(self, alerts: Sequence[Alert]) -> None:
        """Note that states were told, those of them that are still the latest."""
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
        """Have the store keep what changed; what it can't now, it is asked to at the next time.

        Several may go on at once: a state is unsaved until it is kept, or has given way to a later one.
        """
        for alert in list(self._unsaved.values()):
            if self._unsaved.get(alert.key) is not alert:
                continue
            try:
                await self._memory.keep_alert(alert)
            except StoreError as error:
                _log.debug("alert not kept", error=str(error))
                return
            if self._unsaved.get(alert.key) is alert:
                del self._unsaved[alert.key]


async def _ignore(_alerts: Sequence[Alert]) -> None:
    """Keep no note: whoever is told again and again needs none."""
