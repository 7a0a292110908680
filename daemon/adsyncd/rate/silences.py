"""For how long client ids send nothing after a change of quotas, before it takes effect."""

from collections.abc import Mapping, Sequence

from adsyncd.clock import Clock
from adsyncd.rate.account import Account, Known, by_account
from adsyncd.rate.ledger import PermitRecord
from adsyncd.rate.quota import ClientQuota

_WORTH_TELLING_S = 1.0


def silences(clients: Mapping[str, ClientQuota], records: Sequence[PermitRecord], clock: Clock) -> dict[str, float]:
    """Return, by the names of `clients`, for how many seconds nothing can be sent once their quotas take effect.

    Only a quota with other windows than `records` brings a silence. Waits of up to a second are left out.
    """
    now, recorded, platforms, found = clock.monotonic(), by_account(records), dict[str, Account | None](), {}

    def of_platform(client: ClientQuota) -> Account | None:
        platform, quota = client.platform, client.platform_quota
        if platform not in platforms and quota is not None:
            sent = [Known(record, now) for record in records if record.platform == platform and record.client_id]
            known = recorded.get((platform, ""), ())
            platforms[platform] = Account(platform, "", quota, known, clock, __name__, client.timeout, sent)
        return platforms.get(platform)

    for name, client in clients.items():
        key = client.platform, client.client_id
        own = Account(*key, client.quota, recorded.get(key, ()), clock, __name__, client.timeout)
        changed = [one for one in (own, of_platform(client)) if one is not None and one.is_changed]
        wait_s = max((one.limiter.opens_at(now, client.costs[0]) or now for one in changed), default=now) - now
        if wait_s > _WORTH_TELLING_S:
            found[name] = wait_s
    return found
