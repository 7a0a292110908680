"""The way to Vault: blocking calls on a few threads of their own, each under a deadline.

While Vault answers, ten may ask at a time, and the others stand in line. Once it does not, those in line hear so at
once, and one at a time finds out whether it is back.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
import requests

from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.vault_errors import OUTAGES, unanswered, unexpected
from adsyncd.errors import CredentialsError, CredentialsUnavailable
from adsyncd.host.shortage import shortage
from adsyncd.model.status import VaultState

T = TypeVar("T")

AT_ONCE = 10  # as many as a requests session keeps connections


class Connection:
    """Lets calls through to the Vault called `name`. `outage` remembers whether it answers."""

    def __init__(self, name: str, timeout_s: float, outage: Backoff) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._outage = outage
        self._line = anyio.CapacityLimiter(AT_ONCE)
        self._probing = anyio.Lock()
        self._workers = anyio.CapacityLimiter(AT_ONCE)
        self._threads = threading.Semaphore(AT_ONCE)

    async def ask(self, blocking: Callable[[], T]) -> T:
        """Return what `blocking` returns: one exchange with Vault, or a few. Raises `CredentialsError`."""
        async with self._line:
            if self._outage.failure is None:
                return await self._let_through(blocking)
            async with self._probing:
                self._outage.check()
                return await self._let_through(blocking)

    async def _let_through(self, blocking: Callable[[], T]) -> T:
        try:
            with anyio.fail_after(self._timeout_s):
                answer = await anyio.to_thread.run_sync(
                    self._on_thread, blocking, limiter=self._workers, abandon_on_cancel=True
                )
        except TimeoutError as exc:
            error = unanswered(requests.Timeout(), self._name)
            self._outage.fail(error)
            raise error from exc
        except CredentialsError as error:
            if error.state in OUTAGES:
                self._outage.fail(error)
            elif error.state:  # else it did not come to asking
                self._outage.succeed()
            raise
        self._outage.succeed()
        return answer

    def _on_thread(self, blocking: Callable[[], T]) -> T:
        # A call whose caller gave up has left the line, but its thread hangs on: it is counted here until it ends.
        if not self._threads.acquire(blocking=False):
            raise CredentialsUnavailable(
                f"{self._name} has yet to answer earlier requests; see whether it is up", VaultState.SLOW
            )
        try:
            return blocking()
        except CredentialsError:
            raise
        except OSError as exc:
            if lack := shortage(exc):  # nobody's state but ours
                raise CredentialsUnavailable(lack) from exc
            raise unanswered(exc, self._name) from exc
        except Exception as exc:  # noqa: BLE001 - whatever goes wrong here is a state of Vault's, and nobody's end
            # `from None`: what is left out may quote a secret.
            raise unexpected(exc, self._name) from None
        finally:
            self._threads.release()
