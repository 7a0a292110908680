"""A tenant's authority: the tokens that its requests carry, and the sign-in that brings them."""

from base64 import b64encode
from contextlib import suppress
from http import HTTPStatus

import anyio
import httpx
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials import Credentials
from adsyncd.errors import AdsyncdError, SignInRefused
from adsyncd.model.run import Tally
from adsyncd.platforms import wire
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.session import Session
from adsyncd.platforms.verdict import accepted, in_words, is_later
from adsyncd.rate import Gate
from adsyncd.rate.wait import WaitReason


class TokenAuthority:
    """Gives the requests of one run their bearer tokens, and signs the tenant in over `requests`."""

    def __init__(self, requests: Requests, session: Session, gate: Gate, tally: Tally, clock: Clock) -> None:
        self._http = requests
        self._session = session
        self._gate = gate
        self._tally = tally
        self._clock = clock

    async def authorized(self) -> None:
        """Return once a good token is at hand.

        Raises what signing in raises, and `Stopping` instead of signing in once the gate is stopped.
        """
        if self._session.at_hand() is None:
            await self._gate.pause(0.0)
            with self._tally.waiting(WaitReason.CREDENTIALS):
                await self._session.token(self._sign_in)

    def authorize(self, request: httpx.Request) -> bool:
        """Put the token at hand into a request. Return False if there is no good one."""
        token = self._session.at_hand()
        if token is None:
            return False
        call = Call.of(request)
        call.token, call.authorized_at = token, self._clock.monotonic()
        request.headers["authorization"] = f"Bearer {token.value.get_secret_value()}"
        return True

    async def keep_authorized(self) -> None:
        """Keep a good token at hand, until cancelled or until a sign-in fails."""
        with suppress(AdsyncdError):  # the next request that needs a token raises it
            while True:
                await anyio.sleep(self._session.refresh_in())
                await self._session.token(self._sign_in)

    async def _sign_in(self, credentials: Credentials) -> tuple[SecretStr, float]:
        password = credentials.secret("password")
        account = f"{credentials.secret('email').get_secret_value()}:{password.get_secret_value()}"
        basic = b64encode(account.encode()).decode("ascii")
        secrets = self._session.secrets
        secrets.learn(password, SecretStr(basic))
        header = b"authorization", f"Basic {basic}".encode("ascii")
        answer = await self._http.send(self._http.build("POST", "/auth/token", Call(Kind.SIGN_IN), [header]))
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise SignInRefused(
                f"the platform refused email and password{in_words(answer, secrets)}; "
                f"fix them where the drop-in's credentials point"
            )
        if answer.is_client_error and not is_later(answer):
            raise SignInRefused(
                f"the platform answered {answer.status_code} to the sign-in{in_words(answer, secrets)}; "
                f"see whether base_url is right"
            )
        token, life_s = wire.read_token(accepted(answer, secrets).content)
        secrets.learn(token)
        return token, life_s
