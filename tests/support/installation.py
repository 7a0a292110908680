"""Settings and drop-ins in a folder, and a reloader that reads them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import AsyncMock, Mock

from structlog.typing import EventDict

from adsyncd.alerts import AlertWatch
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.store import Store
from adsyncd.telemetry.instruments import DROP_INS_REFUSED
from adsyncd.tenants.registry import Registry, Ticks
from adsyncd.tenants.reload import Reloader
from adsyncd.tenants.supervisor import Supervisor
from support.metrics import Metrics

Logs = list[EventDict]

ACME = 'client_id = "acme"\nplatform = "mixo"\ncredentials = { env = "ACME" }\n'
GLOBEX = ACME.replace("acme", "globex")


class Clock(SystemClock):
    """A clock that can be put forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Installation:
    """Settings and drop-ins in a folder, and a reloader of them whose registry's parts only listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tenants = folder / "tenants.d"
        self.tenants.mkdir()
        self.configure()
        self.supervisor, self.ticks = Mock(spec=Supervisor), Mock(spec=Ticks)
        self.supervisor.worker.return_value.change.return_value = None
        self.store = AsyncMock(spec=Store)
        self.store.open_runs.return_value = []
        for known in ("last_fire_times", "dead_letter_counts", "pauses", "last_runs"):
            getattr(self.store, known).return_value = {}
        self.metrics = Metrics()
        self.before_loading: list[Callable[[], object]] = []
        self.told: list[str] = []
        self.loads = 0
        clock = self.clock = Clock()
        self.registry = Registry(self.supervisor, self.ticks, Mock(spec=AlertWatch), self.store, clock)
        self.reloader = Reloader(self.load(), self.load, self.registry, clock, self.metrics.instruments, self.telling)

    def configure(self, more: str = "") -> None:
        self.write(
            "adsyncd.toml",
            f"""
tenants_dirs = ["{self.tenants}"]
store.url = "sqlite:///{self.folder}/adsyncd.db"
platforms.mixo.base_url = "https://ads"
{more}
""",
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def load(self) -> Settings:
        self.loads += 1
        if self.before_loading:
            self.before_loading.pop(0)()
        return load_settings(self.folder / "adsyncd.toml", {})

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        self.told.append("begins")
        yield
        self.told.append("ends")

    def refused(self) -> float:
        """Return what the metric says."""
        [metric] = self.metrics.exported()
        assert metric["name"] == DROP_INS_REFUSED.name
        [point] = metric["data"]["data_points"]
        assert isinstance(point["value"], int)
        return point["value"]


def told(logged: Logs, event: str) -> list[tuple[str | None, str]]:
    """Return the tenants and lines for which `event` was logged."""
    return [(entry["tenant"], str(entry.get("problem"))) for entry in logged if entry["event"] == event]
