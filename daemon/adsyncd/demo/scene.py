"""The demo's setting: its tenants, and the behaviour of the platform.

All is as in life but the pace: a quota's window is 3 s instead of a minute, a push takes 0.1 s instead of 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from adsyncd.rate.quota import Quota

FAULTS = "20% of listings get a 503 and 10% no answer, 5% of pushes get a 503"

_QUOTA = Quota(requests=10, per=timedelta(seconds=3))
_BEHAVIOUR: Mapping[str, object] = {"list_503": 0.2, "list_hang": 0.1, "push_503": 0.05, "push_latency_s": 0.1}


@dataclass(frozen=True, slots=True)
class Scene:
    """Each tenant is a client id of the same name, with so many campaigns and such a quota.

    `surprises`: settings of mock_api in which the platform is not what the daemon is told that it is.
    """

    tenants: tuple[str, ...] = ("acme", "globex", "initech")
    campaigns: int = 100
    quota: Quota = _QUOTA
    surprises: Mapping[str, object] = field(default_factory=dict)

    def platform(self, passwords: Mapping[str, str]) -> dict[str, object]:
        """Return the settings of mock_api; `passwords` are by tenant."""
        quota = {"quota_requests": self.quota.requests, "quota_window_s": self.quota.per.total_seconds()}
        return {
            "everyone": {"campaigns": self.campaigns, **quota, **_BEHAVIOUR, **self.surprises},
            "accounts": {
                email(tenant): {"password": password, "clients": [tenant]} for tenant, password in passwords.items()
            },
        }


def email(tenant: str) -> str:
    """Return the email that a tenant signs in with."""
    return f"sync@{tenant}.example"


def secret_path(tenant: str) -> str:
    """Return the path of a tenant's credentials in Vault."""
    return f"adsyncd/{tenant}"
