"""What `make install` brings, and what is left of it. Each test has a machine of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine, booted
from support.service import CHECKOUT, Service, make

# What systemd and the tools for users write on their own: logs, seeds, backups and locks.
OTHERS = ("/var/log/", "/var/lib/systemd/", "/etc/machine-id", "/etc/passwd-", "/etc/group-", "/etc/shadow-",
          "/etc/gshadow-", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/var/cache/", "/var/tmp/")  # fmt: skip


WATCHED = ("prometheus/adsyncd.rules.yml", "grafana/adsyncd.json")
COMPLETIONS = (
    "bash-completion/completions/adsyncd",
    "zsh/site-functions/_adsyncd",
    "fish/vendor_completions.d/adsyncd.fish",
)
COMPLETED = f"""
source /usr/local/share/{COMPLETIONS[0]}
COMP_WORDS=(adsyncd dead-letters list --tenant "") COMP_CWORD=4
_adsyncd
echo "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def fresh(checkout: Path) -> Iterator[Machine]:
    with booted(checkout) as machine:
        yield machine


def files(machine: Machine) -> set[str]:
    """Return all that the machine has below the folders where programs put things, with kind and size."""
    listed = machine.run("find", "/etc", "/opt", "/usr", "/var", "-xdev", "-printf", "%p %y %s\\n", check=False).stdout
    lines = (line for line in listed.splitlines() if not line.startswith((*OTHERS, f"{CHECKOUT}/")))
    return {line.removesuffix(line.rpartition(" ")[2]) if " d " in line else line for line in lines}


def test_an_installation_that_was_used_leaves_nothing_of_its_own_behind(fresh: Machine) -> None:
    before = files(fresh)
    fresh.run(*make("install"))
    assert fresh.run("id", "--user", "--name", "adsyncd").stdout == "adsyncd\n"
    assert fresh.run("adsyncd", "--version").stdout.startswith("adsyncd ")
    assert fresh.run("adsyncd", "check").stdout == "0 tenants ready, 0 problems\n"
    shared = fresh.run("find", "/usr/local/share/adsyncd", "-type", "f").stdout.split()
    assert set(shared) == {f"/usr/local/share/adsyncd/{name}" for name in WATCHED}
    for name in WATCHED:
        assert fresh.run("cat", f"/usr/local/share/adsyncd/{name}").stdout == (CHECKOUT / name).read_text()
    for name in COMPLETIONS:
        assert fresh.run("head", "-c1", f"/usr/local/share/{name}").stdout == "#"
    fresh.run("cp", f"{CHECKOUT}/tenants/acme.toml", "/etc/adsyncd/tenants.d/acme.toml")
    assert fresh.run("bash", "-c", COMPLETED).stdout == "acme\n"
    fresh.run("rm", "/etc/adsyncd/tenants.d/acme.toml")
    fresh.run("systemctl", "enable", "--now", "adsyncd")
    said = fresh.run(*make("uninstall")).stdout
    assert "Kept /var/lib/adsyncd" in said
    assert "Kept /etc/adsyncd" not in said
    fresh.run("rm", "-r", "/var/lib/adsyncd")
    fresh.run(*make("uninstall"))  # again, as a whole: the user stays for as long as there is what it owns
    assert fresh.run("systemctl", "status", "adsyncd", check=False).returncode == 4  # no such unit
    assert fresh.run("id", "adsyncd", check=False).returncode != 0
    assert files(fresh) == before


def test_what_the_operator_changed_stays_at_an_upgrade_and_at_an_uninstallation(fresh: Machine) -> None:
    fresh.run(*make("install"))
    service = Service(fresh)
    service.reset()
    service.settings(shutdown_grace="5s")
    settings = fresh.path("/etc/adsyncd/adsyncd.toml")
    written = settings.read_text()
    service.systemctl("start")
    process = service.show("MainPID")
    fresh.run(*make("install"))
    assert (service.show("ActiveState"), service.show("MainPID")) == ("active", process)
    service.systemctl("restart")
    assert settings.read_text() == written
    said = fresh.run(*make("uninstall")).stdout
    assert "Kept /etc/adsyncd, which is yours to remove." in said
    assert settings.read_text() == written
    assert fresh.path("/var/lib/adsyncd/adsyncd.db").exists()


def test_a_package_is_made_in_a_folder_and_touches_nothing_else(fresh: Machine) -> None:
    before = files(fresh)
    fresh.run(*make("install"), "DESTDIR=/tmp/package", "PREFIX=/usr/lib/adsyncd", "LOCAL=/usr")
    assert files(fresh) == before
    unit = fresh.run("cat", "/tmp/package/usr/lib/systemd/system/adsyncd.service").stdout
    assert "ExecStart=/usr/lib/adsyncd/bin/adsyncd run" in unit
    assert "ExecReload=/usr/lib/adsyncd/bin/adsyncd reload" in unit
    first = fresh.run("head", "-n1", "/tmp/package/usr/lib/adsyncd/bin/adsyncd").stdout
    assert first == "#!/usr/lib/adsyncd/bin/python\n"
    assert "/tmp/package" not in fresh.run("cat", "/tmp/package/usr/lib/adsyncd/pyvenv.cfg").stdout
    fresh.run(*make("uninstall"), "DESTDIR=/tmp/package", "PREFIX=/usr/lib/adsyncd", "LOCAL=/usr")
    assert fresh.run("find", "/tmp/package", "-not", "-type", "d").stdout == ""
