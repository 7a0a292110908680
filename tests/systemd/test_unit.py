"""What systemd makes of the unit file, and of how a daemon starts and stops."""

import json
import re

import pytest

from support.page import blocks, read, section
from support.service import CHECKOUT, Service, until


def test_the_unit_is_valid_and_exposes_little(service: Service) -> None:
    place = service.show("FragmentPath")
    assert service.machine.run("systemd-analyze", "verify", place).stderr == ""
    service.machine.run("systemd-analyze", "security", "--offline=true", "--threshold=15", place)
    listed = service.machine.run("systemd-analyze", "security", "--offline=true", "--json=short", place).stdout
    page = (CHECKOUT / "docs" / "systemd.md").read_text(encoding="utf-8")
    for point in json.loads(listed):
        if float(point["exposure"] or 0):
            assert f"| `{point['name'].replace('|', chr(92) + '|')}` |" in page


@pytest.mark.parametrize("limit", ["MemoryMax", "LimitNOFILE"])
def test_what_it_may_use_is_bounded(service: Service, limit: str) -> None:
    assert service.show(limit) != "infinity"


def test_a_new_installation_is_ready_with_no_tenants(service: Service) -> None:
    service.settings()
    service.systemctl("start")
    assert (service.show("ActiveState"), service.show("NotifyAccess")) == ("active", "main")
    assert service.show("StatusText") == "0 tenants; 0 runs in progress"
    service.systemctl("stop")
    assert service.show("Result") == "success"
    assert service.journal("-p", "warning") == []


def test_a_start_that_fails_says_why_and_is_not_tried_again_in_vain(service: Service) -> None:
    service.settings(shutdown_grace="soon")
    assert service.systemctl("start", check=False).returncode != 0
    why = r"/etc/adsyncd/adsyncd\.toml:\d: shutdown_grace: expected a duration .*"
    shown = service.systemctl("status", check=False).stdout
    assert re.search(f'Status: "{why}"', shown)
    assert "status=78/CONFIG" in shown
    assert service.show("ActiveState") == "failed"
    [line] = service.journal("-p", "err", "_TRANSPORT=stdout")
    assert re.fullmatch(f"error: {why}", line["MESSAGE"])


async def test_a_start_that_may_succeed_later_is_tried_again_until_it_does(service: Service) -> None:
    service.settings(store={"url": "postgresql+psycopg://adsyncd@127.0.0.1:1/adsyncd"})
    assert service.systemctl("start", check=False).returncode != 0
    await until(lambda: int(service.show("NRestarts")) > 1)
    service.settings()
    await until(lambda: service.show("ActiveState") == "active")


async def test_a_vault_that_is_down_is_a_state_and_no_failure(service: Service) -> None:
    secret_id = {"credential": "vault-secret-id"}
    auth = {"method": "approle", "role_id": "adsyncd", "secret_id": secret_id}
    service.settings(vault={"address": "http://127.0.0.1:1", "auth": auth})
    service.credential("adsyncd.vault-secret-id", "s3cret")
    service.systemctl("start")
    await until(lambda: service.show("StatusText") == "0 tenants; 0 runs in progress; Vault: down")
    assert service.show("ActiveState") == "active"


async def test_files_that_are_refused_show_in_the_status(service: Service) -> None:
    service.settings(platforms={"mixo": {"base_url": "http://127.0.0.1:1"}})
    service.tenant("acme", credentials={"env": "ACME"}, enabled=False)
    service.tenant("globex", credentials={"env": "GLOBEX"}, quotas={})
    service.systemctl("start")
    await until(lambda: service.show("StatusText") == "0 tenants; 0 runs in progress; 1 file refused")
    [entry] = service.journal("-p", "err")
    assert "/etc/adsyncd/tenants.d/globex.toml" in json.dumps(entry)


def test_sockets_for_groups_need_a_line_in_the_unit_and_are_gone_with_the_service(service: Service) -> None:
    page = {"socket": "/run/adsyncd/page.sock", "group": "marketing"}
    service.machine.run("groupadd", "--system", "--force", "marketing")
    service.settings(page=page)
    assert service.systemctl("start", check=False).returncode != 0
    assert 'page.group: the daemon is not a member of "marketing"' in service.show("StatusText")
    [example] = blocks(section(read("systemd.md"), "Sockets for groups"), "ini")
    [line] = [line for line in example.splitlines() if line.startswith("SupplementaryGroups=")]
    service.override(line.replace("operators ", ""))
    service.systemctl("start")
    shown = service.machine.run("stat", "--format=%a %U %G", "/run/adsyncd/control.sock", page["socket"]).stdout
    assert shown.splitlines() == ["660 adsyncd adsyncd", "660 adsyncd marketing"]
    ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/adsyncd/page.sock')"
    python = service.machine.run("readlink", "-f", "/opt/adsyncd/bin/python").stdout.strip()
    as_colleague = ["setpriv", "--reuid=4711", "--regid=marketing", "--clear-groups", python, "-c"]
    service.machine.run(*as_colleague, ask)
    assert service.machine.run(*as_colleague, ask.replace("page", "control"), check=False).returncode != 0
    service.systemctl("stop")
    assert not service.machine.path("/run/adsyncd").exists()
