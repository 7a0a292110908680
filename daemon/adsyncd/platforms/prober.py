"""Sends one request for a page and tells how far it came: a probe takes one permit and is never repeated."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import httpx

from adsyncd.errors import CredentialsError, ListingError, PlatformError, WaitTooLong
from adsyncd.model.campaign import Page
from adsyncd.model.profile import Profile
from adsyncd.platforms.call import Authority, Call
from adsyncd.platforms.json_text import parsed
from adsyncd.platforms.probe import HIDDEN, Probe, Sent, Step, Timed, examine
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.session import Session
from adsyncd.platforms.verdict import accepted

MASK = "***"


class _Times:
    """When the steps of a probe ended, the first of which begins now."""

    def __init__(self) -> None:
        self._last = anyio.current_time()
        self._took = dict[Step, float]()

    def end(self, step: Step, at: float | None = None) -> None:
        """Note that a step has ended, now or at an instant of monotonic seconds."""
        ended = max(self._last, anyio.current_time() if at is None else at)
        self._took[step] = ended - self._last
        self._last = ended

    def told(self, probe: Probe) -> Probe:
        """Return a probe that ends now with its steps, the last of which is the one that failed."""
        last = probe.failed or Step.READING
        if last not in self._took:
            self.end(last)
        steps = (Timed(step, seconds, step is not probe.failed) for step, seconds in self._took.items())
        return replace(probe, steps=tuple(steps))


class Prober:
    """Probes a profile by a tenant's first page. `read` reads a page from an answer as a run does."""

    def __init__(
        self,
        requests: Requests,
        authority: Authority,
        session: Session,
        profile: Profile,
        read: Callable[[httpx.Response], Awaitable[Page]],
    ) -> None:
        self._http = requests
        self._authority = authority
        self._session = session
        self._secrets = session.secrets
        self._profile = profile
        self._read = read

    async def probe(self, request: httpx.Request) -> Probe:
        """Sign in, send a request for a page once, and return what that shows.

        Raises `WaitTooLong`, `Stopping`, `OutOfResources` and `StoreError`, which say nothing about the platform.
        """
        times = _Times()
        try:
            await self._authority.authorized()
        except CredentialsError as error:
            return times.told(Probe(Step.CREDENTIALS, str(error)))
        except WaitTooLong:
            raise
        except PlatformError as error:
            times.end(Step.CREDENTIALS, self._session.read_at)
            return times.told(Probe(Step.SIGN_IN, str(error)))
        times.end(Step.CREDENTIALS, self._session.read_at)
        times.end(Step.SIGN_IN)
        call = Call.of(request)
        try:
            answer = await self._http.send(request)
        except WaitTooLong:
            raise
        except PlatformError as error:
            return times.told(Probe(Step.LISTING, str(error), self._sent(request), said=call.said))
        times.end(Step.LISTING)
        return times.told(await self._examined(request, answer))

    async def _examined(self, request: httpx.Request, answer: httpx.Response) -> Probe:
        sent, size, said = self._sent(request), len(answer.content), Call.of(request).said

        def probe(failed: Step | None, error: str | None) -> Probe:
            return Probe(failed, error, sent, answer.status_code, size, said)

        try:
            accepted(answer, self._profile, self._secrets)
        except PlatformError as error:
            return probe(Step.LISTING, str(error))
        try:
            page = await self._read(answer)
        except (PlatformError, ListingError) as error:
            return probe(Step.READING, str(error))
        examined = examine(self._profile, parsed(answer.content), page, self._secrets.shown)
        failed = Step.READING if examined.trouble else None
        return Probe(failed, examined.trouble, sent, answer.status_code, size, said, examined)

    def _sent(self, request: httpx.Request) -> Sent:
        """Return a request as it was sent, its secrets masked."""
        headers = {name: self._masked(name, value) for name, value in request.headers.items()}
        assert isinstance(request.stream, httpx.ByteStream)  # noqa: S101 - `Requests` makes no other
        body = b"".join(request.stream).decode("utf-8") or None
        url = str(request.url)
        return Sent(request.method, HIDDEN if self._secrets.are_in(url) else url, headers, body)

    def _masked(self, name: str, value: str) -> str:
        if not self._secrets.are_in(value):
            return value
        is_token = name == self._profile.token_header and self._profile.token_scheme
        return f"{self._profile.token_scheme} {MASK}" if is_token else MASK
