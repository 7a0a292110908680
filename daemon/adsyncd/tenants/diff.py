"""The difference between the tenants in service and those that the drop-ins describe."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from adsyncd.model.tenant import Tenant

_TABLES = {"platform", "sync", "alerts"}  # whose keys are told one by one


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant whose description has changed."""

    old: Tenant
    new: Tenant

    @property
    def reschedules(self) -> bool:
        """Whether the fire times change."""
        return self.old.schedule != self.new.schedule

    @property
    def signs_in_anew(self) -> bool:
        """Whether the account, the platform or the way to sign in changes: the token is not valid any more."""
        return self.old.account_hash != self.new.account_hash

    @property
    def changes_quota(self) -> bool:
        """Whether the quota of the client id or of its platform changes."""
        return (self.old.quota, self.old.platform.quota) != (self.new.quota, self.new.platform.quota)


@dataclass(frozen=True, slots=True)
class Diff:
    """Tenants to add, ids to remove, changes to apply, and the ids of all other tenants in service."""

    added: tuple[Tenant, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    unchanged: tuple[str, ...] = ()


def diff(served: Mapping[str, Tenant], described: Mapping[str, Tenant], unclear: Collection[str]) -> Diff:
    """Compare the tenants in service with those that the drop-ins describe, each by id.

    A tenant that is not enabled is not in service. Nothing is known of the ids in `unclear`: such a tenant stays as it
    is.
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


def changed_keys(change: Change) -> list[str]:
    """Return the keys of a tenant's file whose values differ, such as `quota` and `sync.page_size`."""
    return sorted(_differing(change.old, change.new, ""))


def _differing(old: object, new: object, key: str) -> Iterator[str]:
    for each in fields(old):  # type: ignore[arg-type]  # a dataclass
        one, other = getattr(old, each.name), getattr(new, each.name)
        if one != other:
            name = f"{key}{each.name}"
            if each.name in _TABLES and type(one) is type(other) and is_dataclass(one):
                yield from _differing(one, other, f"{name}.")
            else:
                yield name
