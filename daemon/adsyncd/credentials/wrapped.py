"""A secret id that is delivered wrapped: who delivers it never sees it, and that somebody else unwrapped it shows."""

import threading
from collections.abc import Callable

from pydantic import SecretStr


class WrappedSecret:
    """Unwraps a secret once and keeps it in memory, until another wrapping token lies in the place of its token.

    `token` reads the token at each call, `unwrap` exchanges one for the secret. Both block, and may raise
    `CredentialsError`.
    """

    def __init__(self, token: Callable[[], SecretStr], unwrap: Callable[[SecretStr], SecretStr]) -> None:
        self._token = token
        self._unwrap = unwrap
        self._used: SecretStr | None = None
        self._secret: SecretStr | None = None
        self._one_at_a_time = threading.Lock()

    def __call__(self) -> SecretStr:
        """Return the secret."""
        with self._one_at_a_time:  # a thread may still be at it whose caller gave up: its answer is the only one
            token = self._token()
            if self._secret is None or token != self._used:
                self._secret, self._used = self._unwrap(token), token
            return self._secret
