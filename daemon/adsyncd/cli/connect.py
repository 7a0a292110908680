"""Probes all tenants side by side, for `adsyncd check --connect`."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import anyio

from adsyncd import daemon
from adsyncd.cli.output import print_line
from adsyncd.config import Settings
from adsyncd.errors import AdsyncdError, StoreError, WaitTooLong
from adsyncd.host import event_loop
from adsyncd.model.run import Tally
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant

AT_ONCE = 20  # tenants that are probed side by side
WAIT_S = 30.0  # for a permit


@dataclass(frozen=True, slots=True)
class Connected:
    """How the probe of a tenant ended. `failed`: the step that failed, `quota` or `stopped`; `error`: why."""

    tenant: str
    seconds: float
    failed: str | None = None
    error: str | None = None

    def __str__(self) -> str:
        """Return the line about it."""
        outcome = f"{self.failed}: {self.error}" if self.failed else "ok"
        return f"{self.tenant}: {outcome} ({self.seconds:.1f} s)"


def connect(settings: Settings, tenants: Sequence[Tenant], match: str | None, *, silent: bool) -> list[Connected]:
    """Probe the enabled tenants whose id matches, print a line as each ends unless `silent`; return all, sorted.

    Each takes a permit of its quota. Raises StoreError and what opening the parts of a single sync raises, and
    AdsyncdError if no tenant matches.
    """
    chosen = [one for one in tenants if one.enabled and (match is None or fnmatchcase(one.id, match))]
    if not chosen:
        raise AdsyncdError(f'no enabled tenant matches "{match}"' if match else "there is no enabled tenant")
    found = event_loop.run(_connect, settings, chosen, None if silent else print_line)
    return sorted(found, key=lambda one: one.tenant)


async def _connect(
    settings: Settings, tenants: Sequence[Tenant], show: Callable[[str], None] | None
) -> list[Connected]:
    found = list[Connected]()
    async with daemon.open_parts(settings, os.environ, "error") as parts, anyio.create_task_group() as tasks:
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def probe(tenant: Tenant) -> None:
            async with limit:
                began = anyio.current_time()
                failed: str | None = None
                error: str | None = None
                try:
                    made = await daemon.probe_once(parts, tenant, Tally(), WAIT_S)
                    failed, error = made.failed and made.failed.value, made.error
                except StoreError:
                    raise
                except AdsyncdError as why:
                    failed, error = "quota" if isinstance(why, WaitTooLong) else "stopped", str(why)
            one = Connected(tenant.id, anyio.current_time() - began, failed, error)
            found.append(one)
            if show:
                show(str(one))

        for tenant in tenants:
            tasks.start_soon(probe, tenant)
    return found


def as_json(one: Connected) -> dict[str, object]:
    """Return it as `check --connect --json` prints it."""
    return {
        "tenant": one.tenant,
        "ok": one.failed is None,
        "failed": one.failed,
        "error": one.error,
        "seconds": round(one.seconds, 3),
    }


def summed(found: Sequence[Connected]) -> str:
    """Return the last line: how many are well, and how many failed at which step."""
    return ", ".join(_sums(found))


def _sums(found: Sequence[Connected]) -> Iterator[str]:
    yield f"{counted(len(found), 'tenant')} probed"
    yield f"{sum(one.failed is None for one in found)} ok"
    for step in dict.fromkeys(one.failed for one in found if one.failed):
        yield f"{sum(one.failed == step for one in found)} failed at {step}"
