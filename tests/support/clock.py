"""A clock that a test sets, for spans of hours."""

from datetime import UTC, datetime, timedelta


class SetClock:
    """Stands still at `elapsed_s` until the test moves it."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s

    def since_boot(self) -> float:
        return self.elapsed_s

    @property
    def boot_id(self) -> str:
        return "one"
