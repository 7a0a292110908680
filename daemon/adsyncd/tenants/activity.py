"""What goes on for tenants: runs, replays and commands.

A stop waits until nothing goes on for any tenant; a removed tenant stays until nothing goes on for it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio


class Activities:
    """Counts what goes on for each tenant, by id, and calls `at_rest` with the id when the last of it has ended.

    Under the id "" is counted what concerns several tenants.
    """

    def __init__(self, at_rest: Callable[[str], None]) -> None:
        self._at_rest = at_rest
        self._counts: Counter[str] = Counter()
        self._ended = anyio.Event()

    def __contains__(self, tenant_id: str) -> bool:
        """Say whether something goes on for a tenant."""
        return tenant_id in self._counts

    def begin(self, tenant_id: str) -> None:
        """Count one activity more, until `end`."""
        self._counts[tenant_id] += 1

    def end(self, tenant_id: str) -> None:
        """Count one activity less."""
        self._counts[tenant_id] -= 1
        if self._counts[tenant_id]:
            return
        del self._counts[tenant_id]
        self._at_rest(tenant_id)
        if not self._counts:
            self._ended.set()
            self._ended = anyio.Event()

    @contextmanager
    def during(self, tenant_id: str) -> Iterator[None]:
        """Count the block as an activity."""
        self.begin(tenant_id)
        try:
            yield
        finally:
            self.end(tenant_id)

    async def wait(self) -> None:
        """Return once nothing goes on for any tenant."""
        while self._counts:
            await self._ended.wait()
