"""The working folder of the demo's daemon, which is kept: settings, a profile, drop-ins, database and log."""

import json
import sqlite3
import tempfile
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from adsyncd.demo.scene import Scene, secret_path
from adsyncd.duration import format_duration
from mock_api.description import ORBIT

SECRET_ID_VARIABLE = "VAULT_SECRET_ID"  # noqa: S105 - the name of a variable

# max_attempts: with five, the default, the demo's faults would fail a listing every fifteenth time.
_SETTINGS = """\
# Written by `adsyncd demo`. The Vault and the platform of these addresses ended with it.
tenants_dirs = [{tenants_dir}]
shutdown_grace = "2s"

[store]
url = {store}

[vault]
address = {vault}
auth = {{ method = "approle", role_id = {role_id}, secret_id = {{ env = {variable} }} }}

[platforms.mixo]
base_url = {platform}

[platforms.orbit]
profile = {profile}
base_url = {orbit}

[control]
socket = {socket}

[defaults]
schedule = {{ every = "1d" }}  # a tenant that never ran is due at once
sync = {{ timeout = "1s", max_attempts = 10, run_deadline = "2m" }}
"""

_DROP_IN = """\
client_id = {client_id}
platform = {platform}
credentials = {{ vault = {secret} }}
quota = {{ requests = {requests}, per = {per} }}
"""


class Folder:
    """A new private folder in the system's folder for temporary files."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="adsyncd-demo-")).resolve()
        self.config = self.path / "adsyncd.toml"
        self.database = self.path / "adsyncd.db"
        self.profile = self.path / "orbit.toml"
        self.log = self.path / "daemon.log"
        self.socket = self.path / "control.sock"
        self.store_url = f"sqlite:///{self.database}"

    def write(self, scene: Scene, *, vault: str, role_id: str, platform: str) -> None:
        """Write settings, profile and drop-ins for the tenants of a scene; `vault` and `platform` are addresses."""
        tenants_dir = self.path / "tenants.d"
        tenants_dir.mkdir()
        self.profile.write_text(ORBIT.read_text())
        self.config.write_text(
            _SETTINGS.format(
                tenants_dir=_quoted(str(tenants_dir)),
                store=_quoted(self.store_url),
                vault=_quoted(vault),
                role_id=_quoted(role_id),
                variable=_quoted(SECRET_ID_VARIABLE),
                platform=_quoted(platform),
                profile=_quoted(str(self.profile)),
                orbit=_quoted(f"{platform}/orbit"),
                socket=_quoted(str(self.socket)),
            )
        )
        for tenant in scene.everybody:
            text = _DROP_IN.format(
                client_id=_quoted(tenant),
                platform=_quoted("orbit" if tenant in scene.pulling else "mixo"),
                secret=_quoted(secret_path(tenant)),
                requests=scene.quota.requests,
                per=_quoted(format_duration(scene.quota.per)),
            )
            (tenants_dir / f"{tenant}.toml").write_text(text)

    def stored(self, pulling: Collection[str]) -> dict[str, int]:
        """Count in the database, by tenant, the campaigns that are stored as synced, and all of those `pulling`."""
        query = "SELECT tenant, count(*), count(synced_at) FROM campaigns WHERE deleted_at IS NULL GROUP BY tenant"
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute(query).fetchall()
        return {tenant: stored if tenant in pulling else synced for tenant, stored, synced in rows}


def _quoted(text: str) -> str:
    return json.dumps(text)  # a TOML string, too
