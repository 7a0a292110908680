"""Settings and drop-ins for the measured daemon, written to files like an operator's."""

from collections.abc import Mapping
from pathlib import Path

ACCOUNT = {"email": "bench@example.com", "password": "bench"}
ENVIRON = {"BENCH_EMAIL": ACCOUNT["email"], "BENCH_PASSWORD": ACCOUNT["password"]}
FROM_ENVIRON = 'credentials = { env = "BENCH" }'
FAR_AWAY = 'schedule = { every = "365d" }\n'
HEALTHY = {"push_latency_s": 0, "list_503": 0, "list_hang": 0}  # the mock platform's defaults for all client ids


def accounts(client_ids: list[str]) -> dict[str, object]:
    """Return the mock platform's accounts: one that opens all `client_ids`."""
    return {ACCOUNT["email"]: {"password": ACCOUNT["password"], "clients": client_ids}}


def tenant_ids(count: int) -> list[str]:
    return [f"tenant-{number:04d}" for number in range(count)]


def store_url(folder: Path) -> str:
    return f"sqlite:///{folder}/adsyncd.db"


def write_config(
    folder: Path,
    base_url: str,
    tenants: Mapping[str, str],
    *,
    defaults: str = "",
    more: str = "",
    store: str = "",
    client_id: str = "",
) -> Path:
    """Write settings and a drop-in for each of `tenants`, and return the settings' path.

    `tenants`: special TOML of each drop-in, by tenant id, which is also the client id unless all have one `client_id`.
    `defaults`: TOML for the table `[defaults]`; `more`: TOML for the platform and for other tables. `store`: its URL,
    "" for a file in `folder`.
    """
    drop_ins = folder / "tenants.d"
    drop_ins.mkdir()
    for tenant_id, special in tenants.items():
        (drop_ins / f"{tenant_id}.toml").write_text(f'client_id = "{client_id or tenant_id}"\n{special}\n')
    settings = folder / "adsyncd.toml"
    settings.write_text(f"""
tenants_dirs = ["{drop_ins}"]
shutdown_grace = "0s"
[store]
url = "{store or store_url(folder)}"
[control]
socket = "{folder}/control.sock"
[platforms.mock]
base_url = "{base_url}"
{more}
[defaults]
platform = "mock"
{defaults}
""")
    return settings
