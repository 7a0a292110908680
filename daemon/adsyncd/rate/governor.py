"""The governor keeps all gates: one for each client id of each platform, for as long as the process lives."""

from collections.abc import Iterable

from adsyncd.clock import Clock
from adsyncd.rate.account import Account, Known, by_account
from adsyncd.rate.gate import Gate
from adsyncd.rate.ledger import PermitLedger, PermitRecord, ShapeRecord
from adsyncd.rate.limiter import Usage
from adsyncd.rate.platform_pool import PlatformPool
from adsyncd.rate.quota import ClientQuota


class Governor:
    """Keeps the gates. `owner`: this process. `records`: permits that other and earlier processes had out.

    A gate outlives its users and their configuration, so nothing that happens to them brings a quota back sooner.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: PermitLedger,
        owner: str,
        records: Iterable[PermitRecord] = (),
        shapes: Iterable[ShapeRecord] = (),
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._owner = owner
        self._records = by_account(records)
        self._shapes = {(shape.platform, shape.client_id): shape for shape in shapes}
        self._gates: dict[tuple[str, str], Gate] = {}
        self._pools: dict[str, PlatformPool] = {}

    def gate(self, client: ClientQuota) -> Gate:
        """Return the gate of a client id, and adopt its quota, weight and platform's quota.

        A client id has one gate on a platform. Spent permits stay spent.
        """
        key = (client.platform, client.client_id)
        pool = self._pool(client)
        if key not in self._gates:
            records = self._records.get(key, ())
            largest = client.costs[1]
            account = Account(*key, client.quota, records, self._clock, self._owner, client.timeout, largest=largest)
            self._gates[key] = Gate(account, self._clock, self._ledger, self._shapes.get(key))
        gate = self._gates[key]
        gate.account.expect(client.timeout, client.costs[1])
        gate.least = client.costs[0]
        gate.change(client.quota, pool, client.weight)
        if pool:
            pool.serve()
        return gate

    def usage(self) -> dict[str, list[Usage]]:
        """Return how much of each window of the platforms' own quotas is used, by platform. Safe in any thread."""
        now = self._clock.monotonic()
        return {name: pool.limiter.usage(now) for name, pool in list(self._pools.items())}

    def stop(self) -> None:
        """Stop all gates: requests in flight finish, no other is sent."""
        for gate in self._gates.values():
            gate.stop()

    def _pool(self, client: ClientQuota) -> PlatformPool | None:
        name, quota = client.platform, client.platform_quota
        if quota is None:
            self._pools.pop(name, None)
            return None
        if name not in self._pools:
            records, sent = self._records.get((name, ""), ()), self._sent_by_clients(name)
            timeout, largest = client.timeout, client.costs[1]
            account = Account(name, "", quota, records, self._clock, self._owner, timeout, sent, largest)
            pool = self._pools[name] = PlatformPool(account, self._clock)
            for (of, _), gate in self._gates.items():
                if of == name:  # its requests count from now on, even if its quota is adopted later
                    gate.join(pool)
        pool = self._pools[name]
        pool.account.expect(client.timeout, client.costs[1])
        pool.account.change(quota)
        return pool

    def _sent_by_clients(self, platform: str) -> list[Known]:
        now, sent = self._clock.monotonic(), list[Known]()
        for (of, client_id), records in self._records.items():
            if of == platform and client_id and (of, client_id) not in self._gates:
                sent += [Known(record, now) for record in records]
        for (of, _), gate in self._gates.items():
            if of == platform:
                sent += gate.account.sent()
        return sent
