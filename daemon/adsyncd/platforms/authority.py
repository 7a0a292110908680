"""A tenant's authority: the tokens that its requests carry, and the sign-in that brings them."""

import math
from contextlib import suppress

import anyio
import httpx
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials import Credentials
from adsyncd.errors import AdsyncdError, SignInRefused
from adsyncd.model.profile import StaticToken
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Call
from adsyncd.platforms.profile_requests import values_of
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.session import Session, Token
from adsyncd.platforms.sign_in import SignIn
from adsyncd.platforms.templates import filled, holds_secret, secret_values
from adsyncd.rate import Gate
from adsyncd.rate.wait import WaitReason


class TokenAuthority:
    """Gives the requests of one run their tokens, and signs the tenant in over `requests`."""

    def __init__(
        self, requests: Requests, tenant: Tenant, session: Session, gate: Gate, tally: Tally, clock: Clock
    ) -> None:
        profile = tenant.platform.profile
        self._http = requests
        self._session = session
        self._gate = gate
        self._tally = tally
        self._clock = clock
        self._header = profile.token_header
        self._before = f"{profile.token_scheme} " if profile.token_scheme else ""
        self._values = values_of(tenant)
        self._secret_headers = [(name, text) for name, text in profile.headers if holds_secret(text)]
        if isinstance(profile.sign_in, StaticToken):
            self._static, self._asking = profile.sign_in.secret, None
        else:
            self._static, self._asking = "", SignIn(profile.sign_in, tenant, session.secrets)

    async def authorized(self) -> None:
        """Return once a good token is at hand.

        Raises what signing in raises, and `Stopping` instead of signing in once the gate is stopped.
        """
        if self._session.at_hand() is None:
            await self._gate.pause(0.0)
            with self._tally.waiting(WaitReason.CREDENTIALS):
                await self._session.token(self._sign_in)

    def authorize(self, request: httpx.Request) -> bool:
        """Put the token at hand, and the secrets that it came with, into a request. Return False without a good one."""
        token = self._session.at_hand()
        if token is None:
            return False
        call = Call.of(request)
        call.token, call.authorized_at = token, self._clock.monotonic()
        request.headers[self._header] = f"{self._before}{token.value.get_secret_value()}"
        if self._secret_headers:
            self._put_secrets(request, token)
        return True

    async def keep_authorized(self) -> None:
        """Keep a good token at hand, until cancelled or until a sign-in fails."""
        with suppress(AdsyncdError):  # the next request that needs a token raises it
            while True:
                await anyio.sleep(self._session.refresh_in())
                await self._session.token(self._sign_in)

    def _put_secrets(self, request: httpx.Request, token: Token) -> None:
        values = self._values | secret_values(token.credentials)
        for name, text in self._secret_headers:
            request.headers[name] = filled(text, values)

    async def _sign_in(self, credentials: Credentials) -> tuple[SecretStr, float]:
        if self._asking is None:
            return self._from_credentials(credentials), math.inf
        answer = await self._http.send(self._asking.build(credentials, self._http))
        return self._asking.read(answer, self._clock.now())

    def _from_credentials(self, credentials: Credentials) -> SecretStr:
        """Return the token that is a secret itself. Raises `SignInRefused` if the platform has just refused it."""
        token = credentials.secret(self._static)
        self._session.secrets.use("credentials", *credentials.secrets.values())
        if token == self._session.refused:
            raise SignInRefused(
                f"the platform refused {self._static}, and the credentials hold no other; "
                f"write a new one where the drop-in's credentials point"
            )
        return token
