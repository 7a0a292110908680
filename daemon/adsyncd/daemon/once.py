"""One sync, one probe, or one replay of dead letters, without a daemon."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from math import ceil
from signal import SIGINT, SIGTERM, Signals

import anyio

from adsyncd.daemon.parts import Parts
from adsyncd.errors import Stopping, WaitTooLong
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.run import Run, Tally, whole_ms
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.probe import Probe
from adsyncd.runs.replay import Replayed
from adsyncd.tasks import beside
from adsyncd.tenants.supervisor import Supervisor

_REQUESTS = 3  # of a probe at most: to Vault, for a token, and for a page


async def sync_once(parts: Parts, tenant: Tenant, tally: Tally) -> Run:
    """Run one tenant now, without a daemon, counting in `tally`; an open run is resumed instead.

    After SIGTERM or SIGINT, requests in flight finish and the run stays open. Raises Stopping if a second signal ends
    that wait, LeaseHeld while another process works on the tenant, and StoreError.
    """
    parts.supervisor.add(tenant)
    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience):
            return await parts.supervisor.worker(tenant.id).sync(whole_ms(parts.clock.now()), tally)
    raise Stopping("cut short: the run stays open, and the tenant's next run resumes it")


async def probe_once(parts: Parts, tenant: Tenant, tally: Tally, wait_s: float) -> Probe:
    """Probe a tenant's platform by one page, counting in `tally`; a run of the tenant may be in progress.

    Raises WaitTooLong if the quota lets nothing through within `wait_s`, Stopping if the requests take longer than that
    and their timeouts, or after SIGTERM or SIGINT, and StoreError.
    """
    parts.supervisor.add(tenant)
    silent_s = parts.supervisor.worker(tenant.id).gate.silence_s()
    if silent_s is not None and silent_s > wait_s:
        until = (parts.clock.now() + timedelta(seconds=silent_s)).astimezone().isoformat(" ", "seconds")
        raise WaitTooLong(
            f"the quota of {tenant.id} is used up until {until}, for another {silent_s:.0f} s; "
            f"probe it later, or wait for it: adsyncd probe {tenant.id} --wait {ceil(silent_s) + 1}s"
        )
    deadline_s = wait_s + _REQUESTS * tenant.sync.timeout.total_seconds()
    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.move_on_after(deadline_s) as patience:
        async with beside(cancel_at_next, signals, patience):
            return await parts.supervisor.worker(tenant.id).probe(tally)
    raise Stopping(f"cut short by a signal, or because it took {deadline_s:g} s")


async def replay_once(
    parts: Parts, letters: Sequence[DeadLetter], tally: Tally, find: Callable[[str], Tenant]
) -> list[Replayed]:
    """Replay dead letters now, without a daemon, counting in `tally`, and return the outcome of each.

    `find` returns a tenant by its id; its error leaves that tenant's letters as they are. After SIGTERM or SIGINT,
    pushes in flight finish and the other letters are left. Raises Stopping if a second signal ends that wait.
    """

    def refuse(tenant_id: str) -> None:
        parts.supervisor.add(find(tenant_id))

    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience):
            return await parts.supervisor.replay_all(letters, tally, refuse=refuse)
    raise Stopping("cut short: letters without a known outcome are still dead letters, and can be replayed")


async def cancel_at_next(signals: AsyncIterator[Signals], scope: anyio.CancelScope) -> None:
    """Wait for the next signal, and cancel a scope."""
    await anext(signals)
    scope.cancel()


async def _stop_at_next(signals: AsyncIterator[Signals], supervisor: Supervisor, scope: anyio.CancelScope) -> None:
    await anext(signals)
    supervisor.stop()
    await cancel_at_next(signals, scope)
