import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.config.settings import AppRoleAuth
from adsyncd.demo.folder import SECRET_ID_VARIABLE, Folder
from adsyncd.demo.scene import Scene
from adsyncd.model.tenant import PushPolicy, VaultRef
from adsyncd.rate.quota import Quota


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    with tempfile.TemporaryDirectory(suffix=' "odd"') as place:  # not `tmp_path`: a socket's path has to be short
        monkeypatch.setattr(tempfile, "tempdir", place)
        yield Folder()


def test_the_daemon_reads_from_it_what_the_scene_says(folder: Folder) -> None:
    scene = Scene(tenants=("acme", "globex"), quota=Quota(7, timedelta(milliseconds=1500)))
    folder.write(scene, vault="http://127.0.0.1:8200", role_id="role", platform="http://127.0.0.1:8080")

    settings = load_settings(folder.config, {})
    assert settings.store.url == f"sqlite:///{folder.database}"
    assert settings.vault is not None
    assert isinstance(settings.vault.auth, AppRoleAuth)
    assert settings.vault.auth.role_id == "role"
    assert settings.vault.auth.secret_id.env == SECRET_ID_VARIABLE

    read = read_tenants(settings)
    assert not read.problems
    keys = ("client_id", "client_secret", "refresh_token", "app_key")
    assert {tenant.id: (tenant.client_id, tenant.credentials, tenant.quota) for tenant in read.good.values()} == {
        "acme": ("acme", VaultRef("adsyncd/acme"), scene.quota),
        "globex": ("globex", VaultRef("adsyncd/globex"), scene.quota),
        "hooli": ("hooli", VaultRef("adsyncd/hooli", keys=keys, basic=(), in_headers=("app_key",)), scene.quota),
    }
    hooli = read.good["hooli"]
    assert (hooli.platform.base_url, hooli.sync.push) == ("http://127.0.0.1:8080/orbit", PushPolicy.NONE)


def test_it_is_its_owners_alone(folder: Folder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_it_counts_the_campaigns_that_are_synced(folder: Folder) -> None:
    with closing(sqlite3.connect(folder.database)) as database:
        database.execute("CREATE TABLE campaigns (tenant, synced_at, deleted_at)")
        rows = [
            ("acme", "now", None), ("acme", "now", None), ("acme", None, None), ("globex", "now", None),
            ("globex", "now", "now"), ("hooli", None, None), ("hooli", None, "now"), ("initech", None, None),
        ]  # fmt: skip
        database.executemany("INSERT INTO campaigns VALUES (?, ?, ?)", rows)
        database.commit()
    assert folder.stored({"hooli"}) == {"acme": 2, "globex": 1, "hooli": 1, "initech": 0}
