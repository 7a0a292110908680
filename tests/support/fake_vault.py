"""A Vault on an API without a network, which answers as a test says."""

import threading
from dataclasses import replace
from datetime import timedelta

from opentelemetry.metrics import NoOpMeter
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials.identity import TokenLease
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState
from adsyncd.model.tenant import EMAIL_AND_PASSWORD
from adsyncd.telemetry.instruments import Instruments
from support.vault import Least

ACCESS = VaultAccess(
    address="http://127.0.0.1:1",
    mount="secret",
    namespace=None,
    ca_file=None,
    timeout=timedelta(seconds=30),
    poll=timedelta(seconds=60),
    auth=AppRole("role", lambda: SecretStr("secret-id")),
)
CONTENT = {"email": "ads@acme.example", "password": "canary"}
SEALED = CredentialsUnavailable("Vault is sealed", VaultState.SEALED)
DENIED = CredentialsMissing("Vault does not let you", VaultState.DENIED)


class FakeApi:
    """Vault's API without a network; an error in `failures` is raised by the method of its name."""

    name = "Vault"

    def __init__(self, clock: Clock, life_s: float = 3600) -> None:
        self.clock = clock
        self.life_s = life_s
        self.failures: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.versions: dict[str, int] = {}
        self.hanging: set[str] = set()  # paths whose version is not answered until `release` is set
        self.release = threading.Event()
        self._lock = threading.Lock()

    def sign_in(self, role_id: str, secret_id: SecretStr) -> TokenLease:
        self._ask("sign_in")
        return self._lease(f"{role_id}-{secret_id.get_secret_value()}")

    def sign_in_as(self, token: SecretStr, role: str) -> TokenLease:
        self._ask("sign_in_as")
        return self._lease(f"{role} by {token.get_secret_value()}")

    def renew(self, lease: TokenLease) -> TokenLease:
        self._ask("renew")
        return replace(lease, granted_s=self.clock.monotonic())

    def look_up(self, token: SecretStr) -> TokenLease:
        self._ask("look_up")
        return self._lease(token.get_secret_value())

    def secret(
        self, token: SecretStr, who: str, path: str, keys: tuple[str, ...] = EMAIL_AND_PASSWORD
    ) -> tuple[dict[str, object], int]:
        assert keys
        self._ask(f"secret {path} as {token.get_secret_value()} of {who}", "secret")
        return dict(CONTENT), self.versions.get(path, 1)

    def version(self, _: SecretStr, __: str, path: str) -> int:
        self._ask(f"version {path}", "version")
        if path in self.hanging:
            assert self.release.wait(60)
        return self.versions.get(path, 1)

    def _lease(self, token: str) -> TokenLease:
        return TokenLease(SecretStr(token), self.clock.monotonic(), self.life_s, renewable=True)

    def _ask(self, what: str, kind: str | None = None) -> None:
        with self._lock:
            self.asked.append(what)
        if failure := self.failures.get(kind or what):
            raise failure


def fake_vault(access: VaultAccess, api: FakeApi, clock: Clock, instruments: Instruments | None = None) -> Vault:
    return Vault(
        access,
        api,  # type: ignore[arg-type]  # it has the methods that are used
        clock,
        Least(),
        instruments or Instruments(NoOpMeter("test")),
    )
