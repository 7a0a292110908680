"""A session with a scripted platform and source of credentials, on the virtual clock."""

from dataclasses import dataclass, field

import anyio
from pydantic import SecretStr

from adsyncd.credentials import Credentials
from adsyncd.errors import AdsyncdError, SignInRefused
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms.session import Session, Token
from support.accounts import an_account
from support.spans import Spans
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

LIFE_S = 3600.0


class FastClock(VirtualClock):
    """A clock that can be set ahead, as when the machine wakes from sleep."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class Platform:
    """Accepts the right password, after a second; raises `failure` instead if it is set."""

    password: str = "old"
    failure: AdsyncdError | None = None
    life_s: float = LIFE_S
    asked: list[str] = field(default_factory=list)

    async def sign_in(self, credentials: Credentials) -> tuple[SecretStr, float]:
        self.asked.append(credentials.secret("password").get_secret_value())
        number = len(self.asked)
        await anyio.sleep(1)
        if self.failure is not None:
            raise self.failure
        if credentials.secret("password").get_secret_value() != self.password:
            raise SignInRefused("no")
        return SecretStr(f"token-{number}"), self.life_s


@dataclass
class Source:
    password: str = "old"
    failure: AdsyncdError | None = None
    reads: int = 0
    version: int = 1
    seen: int | None = None  # by who looks for new versions
    followed_until: float = 0.0

    async def read(self, ref: CredentialsRef) -> Credentials:
        assert ref == a_tenant().credentials
        self.reads += 1
        await anyio.sleep(0.5)
        if self.failure is not None:
            raise self.failure
        return an_account("acme@example.com", self.password, self.version)

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        assert ref == a_tenant().credentials
        self.followed_until = until
        return self.seen

    def rotate(self, password: str) -> None:
        """Write a new version, which is seen at once."""
        self.password = password
        self.version += 1
        self.seen = self.version


class Parts:
    """A session, and all that it talks to."""

    def __init__(self, tenant_id: str = "acme") -> None:
        self.platform = Platform()
        self.source = Source()
        self.clock = FastClock()
        self.spans = Spans()
        self.session = Session(a_tenant(id=tenant_id), self.source, self.clock, self.spans.tracer)

    async def token(self) -> Token:
        return await self.session.token(self.platform.sign_in)

    async def replace(self, refused: Token) -> Token:
        """Get another token after a 401 to that one."""
        self.session.refuse(refused, None)
        return await self.token()

    @property
    def sign_ins(self) -> int:
        return len(self.platform.asked)

    async def to_the_end_of(self, token: Token, *, share: float = 1.0) -> None:
        """Wait for a share of what is left of the token's life."""
        await anyio.sleep((token.expires_at - anyio.current_time()) * share)


async def outcomes(parts: Parts, callers: int, *, apart_s: float = 0.0) -> list[Token | AdsyncdError]:
    """What so many callers get who ask for the token, each a little after the one before."""
    got: list[Token | AdsyncdError] = []

    async def caller(after_s: float) -> None:
        await anyio.sleep(after_s)
        try:
            got.append(await parts.token())
        except AdsyncdError as error:
            got.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number * apart_s)
    return got
