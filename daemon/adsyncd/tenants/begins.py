"""Whether runs begin: what became of the last attempts of all tenants to record that one begins.

Attempts that fail with the whole database are not counted: see `adsyncd.store.health`.
"""

from adsyncd.errors import LeaseLost, StoreError

_MOST = 3  # in a row: one alone may be a single tenant's trouble


class Begins:
    """Counts the begins that the database did not record since the last one that it did."""

    def __init__(self) -> None:
        self._failed = 0
        self._error = ""

    def succeeded(self) -> None:
        """Note that a run has begun, on record."""
        self._failed = 0

    def failed(self, error: StoreError) -> None:
        """Note that a run could not begin. A lease that another process has says nothing of other runs."""
        if not isinstance(error, LeaseLost):
            self._failed += 1
            self._error = str(error)

    @property
    def problem(self) -> str | None:
        """Why no run could begin lately, or None."""
        return f"no run could begin lately: {self._error}" if self._failed >= _MOST else None
