"""What has to change so that those who are served are those whom the drop-ins describe."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from adsyncd.model.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant that is described otherwise than before."""

    old: Tenant
    new: Tenant

    @property
    def reschedules(self) -> bool:
        """Whether it is due at other times."""
        return self.old.schedule != self.new.schedule

    @property
    def signs_in_anew(self) -> bool:
        """Whether it is somebody else at the platform, or somewhere else, so that its token is good for nothing."""
        return _account(self.old) != _account(self.new)

    @property
    def changes_quota(self) -> bool:
        """Whether it is metered otherwise, for itself or with the others of its platform."""
        return (self.old.quota, self.old.platform.quota) != (self.new.quota, self.new.platform.quota)


@dataclass(frozen=True, slots=True)
class Diff:
    """The tenants to begin with, the ids of those to be done with, those that change, and the ids of the others."""

    added: tuple[Tenant, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    unchanged: tuple[str, ...] = ()


def diff(served: Mapping[str, Tenant], described: Mapping[str, Tenant], unclear: Collection[str]) -> Diff:
    """Compare the tenants that are served with those that the drop-ins describe, each by id.

    A tenant that is not enabled need not be served. Of the ids that are `unclear` nothing is known, so that whoever is
    served goes on as before.
    """
    added = [tenant for tenant_id, tenant in described.items() if tenant.enabled and tenant_id not in served]
    removed, changed, unchanged = [], [], []
    for tenant_id, old in served.items():
        new = old if tenant_id in unclear else described.get(tenant_id)
        if new is None or not new.enabled:
            removed.append(tenant_id)
        elif new is not old and new != old:  # most are the same object
            changed.append(Change(old, new))
        else:
            unchanged.append(tenant_id)
    return Diff(tuple(added), tuple(removed), tuple(changed), tuple(unchanged))


def _account(tenant: Tenant) -> tuple[object, ...]:
    platform = tenant.platform
    return platform.name, platform.base_url, tenant.client_id, tenant.credentials
