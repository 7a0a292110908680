"""Tenants for tests, of which a test says only what it is about."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.tenant import AlertSettings, EnvRef, Every, Platform, PushPolicy, SyncSettings, Tenant
from adsyncd.rate.quota import Quota


def a_tenant(**changes: Any) -> Tenant:  # noqa: ANN401 - whatever the fields are
    """Return the tenant `acme` with the defaults of a drop-in.

    Each of `changes` is a field of `Tenant`, or of its `SyncSettings`, or the platform's `base_url`:
    `a_tenant(id="globex", client_id="globex", max_attempts=2)`.
    """
    tenant = Tenant(
        id="acme",
        client_id="acme",
        platform=Platform("mixo", "http://ads.invalid", shipped_profile(), quota=None),
        enabled=True,
        schedule=Every(timedelta(minutes=15)),
        credentials=EnvRef("ACME"),
        quota=Quota(10, timedelta(seconds=60)),
        sync=SyncSettings(
            page_size=10,
            concurrency=5,
            timeout=timedelta(seconds=10),
            max_attempts=5,
            run_deadline=timedelta(minutes=30),
            push=PushPolicy.ALL,
            list_cache=timedelta(0),
        ),
        alerts=AlertSettings(min_success_rate=0.9, failures=3),
    )
    if base_url := changes.pop("base_url", None):
        tenant = replace(tenant, platform=replace(tenant.platform, base_url=base_url))
    sync = {name: changes.pop(name) for name in SyncSettings.__slots__ if name in changes}
    return replace(tenant, sync=replace(tenant.sync, **sync), **changes)
