"""A client as a run has it, with real connections and the real time."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import anyio
import anyio.lowlevel
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from adsyncd.clock import SystemClock
from adsyncd.credentials import Credentials
from adsyncd.errors import PlatformError
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms import Connector, PlatformClient
from adsyncd.rate import Gate
from adsyncd.rate.quota import Quota
from adsyncd.rate.retry import RetryBudget
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.http_spans import TracedTransport, http_duration
from adsyncd.telemetry.instruments import Instruments
from support.accounts import an_account
from support.gates import a_gate
from support.spans import Spans
from support.tenants import a_tenant

QUOTA = Quota(20, timedelta(seconds=1))


class Hasty(Random):
    """Draws the least that it may, so that nobody has to wait for a backoff."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - a generator's signature
        return a


class Account:
    """The source of a tenant's credentials: those of an account that `accounts` makes."""

    def __init__(self, name: str, password: str | None = None) -> None:
        self.credentials = an_account(f"{name}@example.com", password or f"pw-{name}")

    async def read(self, ref: CredentialsRef) -> Credentials:  # noqa: ARG002 - a source's signature
        return self.credentials

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None


@dataclass
class Connected:
    client: PlatformClient
    tally: Tally
    gate: Gate

    async def waits_for(self, reason: WaitReason) -> Wait:
        """Return the wait once one for that reason is under way."""
        while True:
            for wait in self.tally.ongoing.values():
                if wait.reason is reason:
                    return wait
            await anyio.lowlevel.checkpoint()

    async def failed(self) -> PlatformError:
        """List in vain, and return the error."""
        with pytest.raises(PlatformError) as error:
            await self.client.page(1)
        return error.value


@asynccontextmanager
async def connected(
    base_url: str,
    *,
    account: Account | None = None,
    tls: ssl.SSLContext | None = None,
    environ: Mapping[str, str] | None = None,
    spans: Spans | None = None,
    **tenant_changes: object,
) -> AsyncIterator[Connected]:
    """A client as a run has it, with real connections and the real time."""
    clock, tracer = SystemClock(), spans.tracer if spans else NoOpTracer()
    connector = Connector(
        tls=tls or ssl.create_default_context(),
        clock=clock,
        random=Hasty(),
        tracer=tracer,
        instruments=Instruments(NoOpMeter("test")),
        traced=lambda inner: TracedTransport(inner, tracer, http_duration(NoOpMeter("test"))) if spans else inner,
        environ=environ or {},
    )
    tenant = a_tenant(**{"quota": QUOTA, "base_url": base_url, **tenant_changes})
    tally, gate = Tally(), a_gate(tenant.quota, clock)
    session = connector.session(tenant, account or Account(tenant.client_id))
    budget = RetryBudget(clock.monotonic())
    async with connector.client(tenant, session, gate, tally, budget=budget) as client:
        yield Connected(client, tally, gate)
