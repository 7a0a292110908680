from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from adsyncd.config import Settings, load_guarded_settings, load_settings
from adsyncd.config.page_table import PageTable
from adsyncd.config.profile_file import shipped_profile
from adsyncd.config.secret_table import SecretRef
from adsyncd.config.settings import AppRoleAuth, SecretIdRef, TokenAuth
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.tenant import Platform
from adsyncd.rate.quota import Quota

FULL = """\
tenants_dirs = ["/usr/lib/adsyncd/tenants.d", "/etc/adsyncd/tenants.d"]
shutdown_grace = "5s"

[store]
url = "postgresql+psycopg://adsyncd:canary-77@db/adsyncd"

[vault]
address = "https://vault.internal:8200/"
mount = "kv"
namespace = "team/ads"
ca_file = "/etc/ssl/vault.pem"
timeout = "3s"
poll = "20s"
auth = { method = "approle", role_id = "r", secret_id = { credential = "vault-secret-id", wrapped = true } }

[control]
socket = "/tmp/control.sock"

[page]
hosts = ["ads.example.com", "Ops.Example.COM."]
socket = "/tmp/page.sock"
group = "marketing"
trace_url = "https://traces.example.com/trace/{trace_id}?tab=spans"

[alerts]
webhook = "https://hooks.example.com/services/canary-79/?key=1"
alertmanager = "http://alertmanager.internal:9093/"
repeat = "30s"

[platforms.mixo]
base_url = "https://ads.example.com"
quota = { requests = 1000, per = "60s" }

[defaults]
schedule = { every = "1h" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adsyncd.toml"


def load(path: Path, text: str, **environ: str) -> Settings:
    path.write_text(text)
    return load_settings(path, environ)


def problems(path: Path, text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(path, text, **environ)
    return caught.value.problems


def test_an_empty_file_gives_the_documented_defaults(path: Path) -> None:
    settings = load(path, "")
    assert settings.tenants_dirs == (Path("/etc/adsyncd/tenants.d"),)
    assert settings.shutdown_grace == timedelta(seconds=20)
    assert settings.store.url == "sqlite:////var/lib/adsyncd/adsyncd.db"
    assert settings.vault is None
    assert settings.control.socket == Path("/run/adsyncd/control.sock")
    assert settings.platforms == {}


def test_every_key_is_read(path: Path) -> None:
    settings = load(path, FULL)
    assert settings.tenants_dirs == (Path("/usr/lib/adsyncd/tenants.d"), Path("/etc/adsyncd/tenants.d"))
    assert settings.shutdown_grace == timedelta(seconds=5)
    assert settings.store.url == "postgresql+psycopg://adsyncd:canary-77@db/adsyncd"
    assert settings.vault is not None
    assert settings.vault.address == "https://vault.internal:8200"
    assert (settings.vault.mount, settings.vault.namespace) == ("kv", "team/ads")
    assert (settings.vault.ca_file, settings.vault.timeout) == (Path("/etc/ssl/vault.pem"), timedelta(seconds=3))
    assert settings.vault.poll == timedelta(seconds=20)
    assert settings.vault.auth == AppRoleAuth(
        method="approle", role_id="r", secret_id=SecretIdRef(credential="vault-secret-id", wrapped=True)
    )
    assert settings.page == PageTable(
        hosts=("ads.example.com", "ops.example.com"),
        socket=Path("/tmp/page.sock"),
        group="marketing",
        trace_url="https://traces.example.com/trace/{trace_id}?tab=spans",
    )
    assert settings.alerts.webhook == "https://hooks.example.com/services/canary-79/?key=1"
    assert settings.alerts.alertmanager == "http://alertmanager.internal:9093"
    assert settings.alerts.repeat == timedelta(seconds=30)
    assert settings.platforms["mixo"].platform("mixo", shipped_profile()) == Platform(
        "mixo", "https://ads.example.com", shipped_profile(), Quota(1000, timedelta(seconds=60))
    )
    assert settings.defaults.schedule.every == timedelta(hours=1)


def test_the_password_of_the_store_and_the_address_of_the_webhook_do_not_show(path: Path) -> None:
    assert "canary" not in repr(load(path, FULL))


@pytest.mark.parametrize(
    ("table", "key", "address"),
    [
        ("alerts", "webhook", "hooks.example.com/canary-79"),
        ("alerts", "webhook", "https://user:canary-79@hooks"),
        ("alerts", "webhook", "https://hooks/canary-79#x"),
        ("store", "url", "mysql://adsyncd:canary-77@db/adsyncd"),
    ],
)
def test_an_invalid_address_that_may_hold_a_secret_is_not_quoted(
    path: Path, table: str, key: str, address: str
) -> None:
    [problem] = problems(path, f'[{table}]\n{key} = "{address}"')
    assert (problem.line, problem.key) == (2, f"{table}.{key}")
    assert "canary" not in str(problem)


def test_who_hears_of_alerts_is_nobody_unless_they_are_named_and_a_variable_can_name_them(path: Path) -> None:
    alerts = load(path, "").alerts
    assert (alerts.webhook, alerts.alertmanager, alerts.repeat) == (None, None, timedelta(minutes=1))
    assert load(path, "", ADSYNCD_ALERTS__WEBHOOK="https://hooks/secret").alerts.webhook == "https://hooks/secret"


def test_a_secret_in_the_file_is_refused_with_the_way_to_refer_to_it(path: Path) -> None:
    text = '[vault]\naddress = "http://v"\nauth = { method = "token", token = "canary-78" }'
    what = "must be a table that says where the secret is, not the secret itself"
    fix = 'for example token = { credential = "vault-token" }'
    assert problems(path, text) == [Problem(path, 3, "vault.auth.token", what, fix)]


def test_variables_win_over_the_file(path: Path) -> None:
    settings = load(
        path,
        FULL,
        ADSYNCD_SHUTDOWN_GRACE="1s",
        ADSYNCD_STORE__URL="sqlite:////tmp/a.db",
        ADSYNCD_TENANTS_DIRS='["/tmp/t"]',
        ADSYNCD_PLATFORMS__MIXO__QUOTA__REQUESTS="7",
        ADSYNCD_DEFAULTS__ENABLED="false",
        ADSYNCD_VAULT__AUTH='{"method": "token", "token": {"env": "T"}}',
    )
    assert settings.shutdown_grace == timedelta(seconds=1)
    assert settings.store.url == "sqlite:////tmp/a.db"
    assert settings.tenants_dirs == (Path("/tmp/t"),)
    quota = settings.platforms["mixo"].quota
    assert quota is not None
    assert quota.requests == 7
    assert settings.defaults.enabled is False
    assert settings.vault is not None
    assert settings.vault.auth == TokenAuth(method="token", token=SecretRef(env="T"))


def test_a_mistake_in_a_variable_names_the_variable(path: Path) -> None:
    what, fix = 'expected a whole number, got "ten"', "for example page_size = 10"
    found = problems(path, FULL, ADSYNCD_DEFAULTS__SYNC__PAGE_SIZE="ten")
    assert found == [Problem(None, None, "ADSYNCD_DEFAULTS__SYNC__PAGE_SIZE", what, fix)]
    [problem] = problems(path, FULL, ADSYNCD_FOO__BAR="x")
    assert problem.key == "ADSYNCD_FOO__BAR"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(path: Path) -> None:
    text = """\
shutdown_grace = "20"
[store]
urll = "x"
[platforms.mixo]
base_url = "ads.example.com"
[defaults]
schedule = { every = "15m" }
quota = { requests = 5 }
sync.pagesize = 5
"""
    assert [(problem.line, problem.key) for problem in problems(path, text, ADSYNCD_STORE_URL="x")] == [
        (1, "shutdown_grace"),
        (3, "store.urll"),
        (5, "platforms.mixo.base_url"),
        (8, "defaults.quota.per"),
        (9, "defaults.sync.pagesize"),
        (None, "ADSYNCD_STORE_URL"),
    ]


def test_defaults_that_lead_nowhere_are_mistakes_of_the_settings(path: Path) -> None:
    text = '[defaults]\nplatform = "mixo"\ncredentials = { vault = "a" }'
    assert [(problem.line, problem.key) for problem in problems(path, text)] == [
        (2, "defaults.platform"),
        (3, "defaults.credentials.vault"),
    ]


def test_a_missing_file_is_told_with_the_ways_to_name_another(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert str(caught.value) == (
        f"{path}: can't be read: No such file or directory; create it, or name another with --config or ADSYNCD_CONFIG"
    )


def test_a_file_that_is_there_is_not_told_to_be_created(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, {})
    assert str(caught.value) == f"{tmp_path}: can't be read: Is a directory; put a file there"


def test_a_socket_s_path_is_no_longer_than_the_system_takes(path: Path) -> None:
    longest = "/" + "x" * 106
    assert load(path, f'[control]\nsocket = "{longest}"').control.socket == Path(longest)
    [problem] = problems(path, f'[control]\nsocket = "{longest}x"')
    assert (problem.line, problem.key) == (2, "control.socket")
    assert "must have at most 107 bytes" in problem.what


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('tenants_dirs = ["tenants.d"]', "tenants_dirs.0"),
        ('store.url = "sqlite:///adsyncd.db"', "store.url"),
        ('control.socket = "control.sock"', "control.socket"),
        ('page.socket = "page.sock"', "page.socket"),
    ],
)
def test_a_path_that_depends_on_where_one_stands_is_refused(path: Path, line: str, key: str) -> None:
    [problem] = problems(path, line)
    assert problem.key == key
    assert "absolute path" in f"{problem.what}; {problem.fix}"


def test_the_page_s_socket_is_another_one_than_the_control_socket(path: Path) -> None:
    [problem] = problems(path, '[page]\nsocket = "/run/adsyncd/control.sock"')
    assert (problem.line, problem.key) == (2, "page.socket")
    assert "is the control socket; name another path" in str(problem)


def test_the_daemon_s_settings_are_refused_if_others_may_change_them(path: Path) -> None:
    path.write_text(FULL)
    path.chmod(0o644)
    assert load_guarded_settings(path, {}) == load_settings(path, {})
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"is writable by others.*chmod go-w"):
        load_guarded_settings(path, {})


def test_a_variable_that_is_not_utf_8_is_named_and_not_repeated_since_it_may_hold_a_password(path: Path) -> None:
    path.write_text(FULL)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {"ADSYNCD_STORE__URL": "postgresql+psycopg://u:canary\udce4@h/d"})
    [problem] = caught.value.problems
    assert (problem.key, problem.what) == ("ADSYNCD_STORE__URL", "expected UTF-8 text")


def test_a_platform_s_proxy_and_authorities_are_read_with_the_settings(path: Path) -> None:
    pem = path.parent / "ca.pem"
    trustme.CA().cert_pem.write_to_path(pem)
    platform = load(path, f'[platforms.mixo]\nbase_url = "https://ads"\nproxy = "http://p:1"\nca_file = "{pem}"')
    known = platform.platforms["mixo"].platform("mixo", shipped_profile())
    assert (known.proxy, known.authorities) == ("http://p:1", pem.read_text().strip())
    [problem] = problems(path, '[platforms.mixo]\nbase_url = "https://ads"\nca_file = "/none.pem"')
    assert (problem.line, problem.key) == (3, "platforms.mixo.ca_file")
    assert (problem.what, problem.fix) == (
        'can\'t be read: No such file or directory, got "/none.pem"',
        "put the PEM of the authority there",
    )
    [problem] = problems(path, '[platforms.mixo]\nbase_url = "https://ads"\nproxy = "http://u:canary@p:1"')
    assert (problem.line, problem.key) == (3, "platforms.mixo.proxy.url")
    assert "canary" not in str(problem)
    assert "name that: file, env or credential" in problem.fix
