"""Brings changed files into service while the daemon runs: reads all of them, compares, changes what differs.

    SIGHUP, control socket, files that change ─► settings and drop-ins ─► diff ─► registry
                                                          └─► refused: what is wrong, until it is fixed

A tenant with invalid files keeps its last valid ones. While a directory can't be read, all tenants keep theirs, since
its files might concern any of them. With invalid settings the daemon keeps its last valid ones, too. A platform with
an invalid profile keeps its last valid one, so that its tenants notice nothing.

A deployment or an editor may remove a drop-in for a moment, so its tenant comes back paused if it was paused; after a
day the pause is forgotten.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from signal import Signals

import anyio
import anyio.to_thread
import structlog

from adsyncd.clock import Clock
from adsyncd.config import Settings
from adsyncd.config.dropins import DropIns, Tenants
from adsyncd.errors import ConfigError, Problem, StoreError
from adsyncd.model.status import RefusedFile, Reloaded, ReloadPreview, listed
from adsyncd.model.tenant import Tenant
from adsyncd.telemetry.instruments import DROP_INS_REFUSED, Instruments
from adsyncd.tenants.diff import Diff, changed_keys, diff
from adsyncd.tenants.registry import Registry

_log = structlog.stdlib.get_logger(__name__)

_LIVE = frozenset({"tenants_dirs", "watch", "shutdown_grace", "platforms", "defaults"})  # the others need a restart
_LIVE_OF_PAGE = frozenset({"hosts", "trace_url"})
_SAID = {
    False: ("drop-in refused", "drop-in no longer refused"),
    True: ("profile refused", "profile no longer refused"),
}
_SETTLES_S = 1.0
_AGAIN_S = 30.0
_GONE_FOR_GOOD_S = 24 * 3600.0  # after so long without a drop-in a tenant's pause is forgotten
_MOST_NAMES = 20
_LOOK_S = 600.0  # between two looks for such tenants


@dataclass(frozen=True, slots=True)
class _Files:
    """The contents of all files. `stated`: the settings as written; `settings`: as in force; and the tenants."""

    stated: Settings
    settings: Settings
    problems: list[Problem]
    tenants: Tenants


class Reloader:
    """Brings the registry in line with the files. `load` reads the settings.

    `telling`: a context manager entered for each reload but the first. `settings`: those in force. `refused`: what is
    wrong with the files. `elsewhere` is set when other places have to be watched.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        registry: Registry,
        clock: Clock,
        instruments: Instruments,
        telling: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self.settings = settings
        self.refused: tuple[RefusedFile, ...] = ()
        self.elsewhere = anyio.Event()
        self._stated = settings
        self._load = load
        self._registry = registry
        self._clock = clock
        self._instruments = instruments
        self._telling = telling
        self._tenants = Tenants({}, {}, [])
        self._drop_ins = DropIns(clock)
        self._described = frozenset[str]()
        self._ignored = frozenset[Problem]()
        self._gone: dict[str, float] = {}  # tenants without a drop-in, and since when
        self._turn = anyio.Lock()
        self._begun = 0
        self._ended = 0
        self._report: Reloaded

    @property
    def problems(self) -> list[Problem]:
        """All problems of the files."""
        return [problem for refusal in self.refused for problem in refusal.problems]

    @property
    def disabled(self) -> list[Tenant]:
        """The tenants with `enabled = false`."""
        return [tenant for tenant in self._tenants.good.values() if not tenant.enabled]

    async def reload(self, *, patient: bool = False) -> Reloaded:
        """Apply the files as they are now, and return what that changed. Raises StoreError.

        One reload is in progress at a time; all requests that arrive meanwhile share the next one. A `patient` reload
        reads again after a second if a file with a problem has changed just now, since it may be half written.
        """
        asked = self._begun + 1
        async with self._turn:
            if self._ended < asked:
                self._begun += 1
                async with self._telling() if self._ended else nullcontext():  # the first one is the start
                    self._report = await self._reload(patient=patient)
                self._ended = self._begun
            return self._report

    async def preview(self) -> ReloadPreview:
        """Return what a reload would change now. Nothing is applied."""
        async with self._turn:
            files = await anyio.to_thread.run_sync(partial(self._read, DropIns(self._clock)))
            served = self._registry.tenants
            difference = _difference(served, files.tenants)
            return ReloadPreview(
                added=tuple(tenant.id for tenant in difference.added),
                removed=difference.removed,
                changed={change.new.id: changed_keys(change) for change in difference.changed},
                unchanged=len(difference.unchanged),
                refused=tuple(_refused(files, served)),
                ignored=tuple(files.tenants.ignored),
                restart=tuple(_differing(files.stated, files.settings)),
            )

    async def reload_until_done(self, *, patient: bool = False) -> None:
        """Reload, and retry while the database fails."""
        while True:
            try:
                await self.reload(patient=patient)
            except StoreError as error:
                _log.error("reload failed, retrying", error=str(error), after_s=_AGAIN_S)
                await anyio.sleep(_AGAIN_S)
                continue
            except Exception:  # noqa: BLE001 - a bug costs one reload and no run
                _log.exception("reload broke down")
            return

    async def obey(self, hangups: AsyncIterator[Signals]) -> None:
        """Reload at each SIGHUP, until cancelled."""
        async with anyio.create_task_group() as tasks:
            async for _ in hangups:
                tasks.start_soon(self.reload_until_done)

    async def forget_gone(self) -> None:
        """Forget the pauses of tenants whose drop-ins have been gone for a day, until cancelled."""
        while True:
            await anyio.sleep(_LOOK_S)
            async with self._turn:  # a reload may bring one of them back
                before = self._clock.monotonic() - _GONE_FOR_GOOD_S
                for tenant_id in [tenant_id for tenant_id, since in self._gone.items() if since <= before]:
                    with suppress(StoreError):  # the next look tries again
                        await self._registry.forget(tenant_id)
                        del self._gone[tenant_id]

    async def _reload(self, *, patient: bool) -> Reloaded:
        began = self._clock.monotonic()
        files = await anyio.to_thread.run_sync(self._read)
        if patient and (files.problems or files.tenants.unsettled):
            await anyio.sleep(_SETTLES_S)
            files = await anyio.to_thread.run_sync(self._read)
        restart = self._heed(files)
        self._refuse(files)
        self._remark(files.tenants.ignored)
        served, tenants = self._registry.tenants, files.tenants
        self._tenants = tenants
        self._note_gone(tenants)
        difference = _difference(served, tenants)
        due = await self._registry.apply(difference)
        report = Reloaded(
            added=tuple(tenant.id for tenant in difference.added),
            removed=difference.removed,
            changed=tuple(change.new.id for change in difference.changed),
            unchanged=difference.unchanged,
            refused=self.refused,
            due=due,
            took_s=self._clock.monotonic() - began,
            silent=tuple(self._registry.silent),
            ignored=tuple(tenants.ignored),
            restart=restart,
        )
        for one in report.silent:
            until, lasts_s = one.until.isoformat(timespec="seconds"), round(one.lasts_s)
            _log.warning("quota changed: no requests for a while", tenant=one.tenant, until=until, lasts_s=lasts_s)
        news = difference.added or difference.removed or difference.changed
        log = _log.debug if (patient and not news) or not self._ended else _log.info
        log(
            "reloaded",
            added=len(report.added),
            removed=len(report.removed),
            changed=len(report.changed),
            unchanged=len(report.unchanged),
            refused=len(report.refused),
            took_s=round(report.took_s, 3),
            **_names(report),
        )
        return report

    def _read(self, drop_ins: DropIns | None = None) -> _Files:
        """Read all files, by `drop_ins` if they are not to be remembered. Blocks."""
        stated, problems = self._stated, []
        try:
            stated = self._load()
        except ConfigError as error:
            problems = error.problems
        settings = _in_force(self.settings, stated)
        return _Files(stated, settings, problems, (drop_ins or self._drop_ins).read(settings))

    def _heed(self, files: _Files) -> tuple[str, ...]:
        """Apply the settings that can change while the daemon runs; log and return the others, which need a restart."""
        waiting = tuple(_differing(files.stated, files.settings))
        if waiting and files.stated != self._stated:
            _log.warning("settings changed that need a restart", keys=list(waiting))
        before, self._stated, self.settings = self.settings, files.stated, files.settings
        if _watched(before) != _watched(files.settings):
            self.elsewhere.set()
        return waiting

    def _note_gone(self, tenants: Tenants) -> None:
        """Note whose drop-ins are gone. A directory that can't be read says nothing about that."""
        if not tenants.directories:
            now, before = self._clock.monotonic(), self._described | self._gone.keys()
            self._described = frozenset(tenants.good.keys() | tenants.bad.keys())
            self._gone = {tenant_id: self._gone.get(tenant_id, now) for tenant_id in before - self._described}

    def _remark(self, ignored: Sequence[Problem]) -> None:
        """Log what is ignored, once."""
        for one in ignored:
            if one not in self._ignored:
                _log.warning("file ignored", problem=str(one))
        self._ignored = frozenset(ignored)

    def _refuse(self, files: _Files) -> None:
        """Keep the problems, and log which of them are new and which are resolved."""
        before, self.refused = self.refused, tuple(_refused(files, self._registry.tenants))
        self._instruments.set(DROP_INS_REFUSED, sum(1 for refusal in self.refused if refusal.problems))
        known = {problem for refusal in before for problem in refusal.problems}
        for refusal in self.refused:
            for problem in refusal.problems:
                if problem not in known:
                    event = "settings refused" if problem in files.problems else _SAID[_of_profile(refusal)][0]
                    _log.error(event, **_whose(refusal), problem=str(problem), goes_on=refusal.goes_on)
        still = {(refusal.tenant, refusal.platform) for refusal in self.refused}
        for refusal in before:
            if refusal.problems and (refusal.tenant, refusal.platform) not in still:
                _log.info(_SAID[_of_profile(refusal)][1], **_whose(refusal))


def _difference(served: Mapping[str, Tenant], tenants: Tenants) -> Diff:
    return diff(served, tenants.good, served if tenants.directories else tenants.bad)


def _names(report: Reloaded) -> dict[str, str]:
    """Return the names of the tenants that a reload concerned, as fields of the log."""
    of = {"names_added": report.added, "names_removed": report.removed, "names_changed": report.changed}
    return {key: listed(names, _MOST_NAMES) for key, names in of.items() if names}


def _in_force(before: Settings, stated: Settings) -> Settings:
    """Return the settings as stated, but those that need a restart as before."""
    page = before.page.model_copy(update={key: getattr(stated.page, key) for key in _LIVE_OF_PAGE})
    return before.model_copy(update={"page": page, **{key: getattr(stated, key) for key in _LIVE}})


def _differing(some: Settings, others: Settings) -> Iterator[str]:
    for key in Settings.model_fields:
        if key == "page":
            yield from (f"page.{one}" for one, value in some.page if value != getattr(others.page, one))
        elif getattr(some, key) != getattr(others, key):
            yield key


def _watched(settings: Settings) -> tuple[object, ...]:
    return settings.watch, settings.tenants_dirs, settings.profiles


def _refused(files: _Files, served: Mapping[str, Tenant]) -> Iterator[RefusedFile]:
    """Yield what is wrong. The problems of a profile are there once, however many tenants it concerns."""
    tenants = files.tenants
    for wrong in (files.problems, tenants.directories):
        if wrong:
            yield RefusedFile(None, tuple(wrong), bool(served))
    profiles = tenants.profiles
    for problems, platform in profiles.items():
        concerned = {name for name, others in tenants.platforms.items() if others == problems}
        goes_on = any(tenant.platform.name in concerned for tenant in served.values())
        yield RefusedFile(None, problems, goes_on, platform)
    for tenant_id, wrong in tenants.bad.items():
        platform_at_fault = profiles.get(tuple(wrong))
        own = () if platform_at_fault else tuple(wrong)
        yield RefusedFile(tenant_id, own, tenant_id in served, platform_at_fault)


def _of_profile(refusal: RefusedFile) -> bool:
    return refusal.tenant is None and refusal.platform is not None


def _whose(refusal: RefusedFile) -> dict[str, str | None]:
    return {"platform": refusal.platform} if _of_profile(refusal) else {"tenant": refusal.tenant}
