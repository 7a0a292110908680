"""The simulator: runs the daemon in a world, checks the invariants, and returns the course of events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import structlog
from structlog.typing import EventDict, WrappedLogger

from adsyncd.simulation.invariants import InvariantChecker, RunSeen
from adsyncd.simulation.lives import Lives
from adsyncd.simulation.memory import memory_engine
from adsyncd.simulation.network import Factory
from adsyncd.simulation.promises import Invariant, Violation
from adsyncd.simulation.virtual_time import BACKEND
from adsyncd.simulation.world import World
from mock_api.app import create_app

_WATCH_S = 300.0


@dataclass(frozen=True, slots=True)
class Course:
    """The events of a world. `requests` arrived at its platforms, `pushes` took effect there.

    `digest` is a hash of the course of events. `overlapped` counts skipped ticks, by tenant id.
    """

    world: World
    violations: tuple[Violation, ...]
    digest: str
    requests: int
    pushes: int
    runs: tuple[RunSeen, ...]
    overlapped: Mapping[str, int]


class Simulator:
    """Runs worlds, one after the other; `factory` makes their platforms."""

    def __init__(self, factory: Factory = create_app) -> None:
        self._factory = factory
        self._checker: InvariantChecker
        # One engine for all worlds, so that statements are compiled once; each world has its own checker.
        self._engine = memory_engine(lambda *told: self._checker.tell(*told))  # noqa: PLW0108 - looked up when called

    def run(
        self,
        world: World,
        *,
        watch: Callable[[float], None] = lambda _: None,
        log: Callable[[str], None] = lambda _: None,
    ) -> Course:
        """Run a world and return its course: the same for the same world, each time and in each process.

        `watch` is called regularly with the simulated seconds, `log` with each event as a line.
        """
        backend, options = BACKEND
        return anyio.run(self._simulate, world, watch, log, backend=backend, backend_options=dict(options))

    async def _simulate(self, world: World, watch: Callable[[float], None], log: Callable[[str], None]) -> Course:
        self._engine.dispose()
        checker = self._checker = InvariantChecker(world, anyio.current_time, log)
        with _listening(checker):
            async with anyio.create_task_group() as around:
                around.start_soon(_tell_the_time, watch)
                simulation = Lives(world, self._factory, checker, around, self._engine)
                await simulation.run()
                around.cancel_scope.cancel()
        return Course(
            world=world,
            violations=tuple(checker.violations),
            digest=checker.digest,
            requests=checker.requests,
            pushes=checker.pushes,
            runs=tuple(checker.runs.values()),
            overlapped=simulation.overlapped,
        )


async def _tell_the_time(watch: Callable[[float], None]) -> None:
    while True:
        watch(anyio.current_time())
        await anyio.sleep(_WATCH_S)


@contextmanager
def _listening(checker: InvariantChecker) -> Iterator[None]:
    """Drop all logs, and report logged exceptions to the checker as violations."""

    def listen(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if method == "exception":
            checker.break_(Invariant.SOUND, f"{event['event']} ({event.get('tenant')})")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[listen], wrapper_class=structlog.stdlib.BoundLogger)
    try:
        yield
    finally:
        structlog.configure(**before)
