"""What changes of quotas cost, told before they count: for how long a tenant would send nothing."""

from collections.abc import Iterable, Sequence

from adsyncd.clock import Clock
from adsyncd.governor.account import Account, Known, by_account
from adsyncd.permit import PermitRecord
from adsyncd.tenant import Platform, Tenant

_WORTH_TELLING_S = 1.0


def costs(tenants: Iterable[Tenant], records: Sequence[PermitRecord], clock: Clock) -> dict[str, float]:
    """Return, by tenant, for how many seconds nothing is sent once quotas count that have other windows than `records`.

    Waits of up to a second are left out.
    """
    now, recorded, platforms, found = clock.monotonic(), by_account(records), dict[str, Account | None](), {}

    def of_platform(platform: Platform, tenant: Tenant) -> Account | None:
        if platform.name not in platforms and platform.quota is not None:
            sent = [Known(record, now) for record in records if record.platform == platform.name and record.client_id]
            known = recorded.get((platform.name, ""), ())
            platforms[platform.name] = Account(
                platform.name, "", platform.quota, known, clock, __name__, tenant.sync.timeout, sent
            )
        return platforms.get(platform.name)

    for tenant in tenants:
        key = tenant.platform.name, tenant.client_id
        own = Account(*key, tenant.quota, recorded.get(key, ()), clock, __name__, tenant.sync.timeout)
        changed = [one for one in (own, of_platform(tenant.platform, tenant)) if one is not None and one.is_changed]
        wait_s = max((one.limits.opens_at(now) or now for one in changed), default=now) - now
        if wait_s > _WORTH_TELLING_S:
            found[tenant.id] = wait_s
    return found
