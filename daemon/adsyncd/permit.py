"""A permit as it is put on record, so that a restart finds out what the process before it had out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """Permit `number` of a platform's client id was out with a request, and is not free before `free_at`.

    `free_at` is in seconds since the machine's boot `boot_id`, a line on which no clock can be set. `window_s` is the
    quota's, as it was at the time.
    """

    platform: str
    client_id: str
    number: int
    free_at: float
    boot_id: str
    window_s: float
