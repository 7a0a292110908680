"""The parts of the daemon that the workers of all tenants share."""

from dataclasses import dataclass, field

from opentelemetry.trace import Tracer

from adsyncd.alerts import AlertWatch
from adsyncd.clock import Clock
from adsyncd.credentials import CredentialsSource
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.runs.lease import Leases
from adsyncd.store import Store
from adsyncd.telemetry.instruments import Instruments
from adsyncd.tenants.begins import Begins
from adsyncd.tenants.run_log import RunLog
from adsyncd.tenants.turns import Turns


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that all workers share. `watch` is None where nobody is alerted, as in a single sync."""

    connector: Connector
    credentials: CredentialsSource
    governor: Governor
    store: Store
    leases: Leases
    clock: Clock
    tracer: Tracer
    instruments: Instruments
    watch: AlertWatch | None = None
    turns: Turns = field(default_factory=Turns)
    run_log: RunLog = field(default_factory=RunLog)
    begins: Begins = field(default_factory=Begins)
