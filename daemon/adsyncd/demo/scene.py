"""The demo's setting: its tenants, and the behaviour of the platform.

All is as in life but the pace: a quota's window is 3 s instead of a minute, a push takes 0.1 s instead of 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from adsyncd.rate.quota import Quota
from mock_api.description import orbit

FAULTS = "20% of listings get a 503 and 10% no answer, 5% of pushes get a 503"
ORBIT_FAULTS = "10% of listings more get an error under the status 200"

_QUOTA = Quota(requests=10, per=timedelta(seconds=3))
_BEHAVIOUR: Mapping[str, object] = {"list_503": 0.2, "list_hang": 0.1, "push_503": 0.05, "push_latency_s": 0.1}
_ORBIT_BEHAVIOUR: Mapping[str, object] = {"list_error_code": 0.1, "list_latency_s": 0.1}
_ORBIT_SECRETS = ("client_id", "client_secret", "refresh_token", "app_key")


@dataclass(frozen=True, slots=True)
class Scene:
    """Each tenant is a client id of the same name, with so many campaigns and such a quota.

    `pulling`: tenants of a second platform, whose API takes no pushes.
    `surprises`: settings of mock_api in which the platform is not what the daemon is told that it is.
    """

    tenants: tuple[str, ...] = ("acme", "globex", "initech")
    pulling: tuple[str, ...] = ("hooli",)
    campaigns: int = 100
    quota: Quota = _QUOTA
    surprises: Mapping[str, object] = field(default_factory=dict)

    @property
    def everybody(self) -> tuple[str, ...]:
        """All tenants."""
        return self.tenants + self.pulling

    def credentials(self, new: Callable[[], str]) -> dict[str, dict[str, str]]:
        """Return the credentials of each tenant, as Vault is to hold them. `new` returns a new secret."""
        own = {tenant: {"email": email(tenant), "password": new()} for tenant in self.tenants}
        return own | {tenant: {name: new() for name in _ORBIT_SECRETS} for tenant in self.pulling}

    def platform(self, credentials: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
        """Return the settings of mock_api, which is both platforms; `credentials` are by tenant."""
        quota = {"quota_requests": self.quota.requests, "quota_window_s": self.quota.per.total_seconds()}
        return {
            "everyone": {"campaigns": self.campaigns, **quota, **_BEHAVIOUR, **self.surprises},
            "clients": dict.fromkeys(self.pulling, _ORBIT_BEHAVIOUR),
            "apis": {"orbit": orbit()},
            "accounts": {
                email(tenant): {"password": secrets.get("password"), "clients": [tenant], "secrets": secrets}
                for tenant, secrets in credentials.items()
            },
        }


def email(tenant: str) -> str:
    """Return the email that a tenant signs in with."""
    return f"sync@{tenant}.example"


def secret_path(tenant: str) -> str:
    """Return the path of a tenant's credentials in Vault."""
    return f"adsyncd/{tenant}"
