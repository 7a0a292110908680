"""A permit as it is put on record, so that a restart finds out what the process before it had out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """Permit `number` of a window of a platform's client id was out with a request, and is not free before `free_at`.

    `free_at` is in seconds since the machine's boot `boot_id`, a line on which no clock can be set. `window_ms` is the
    window's length. `owner` is the process that has it out or had it last. An empty `client_id` stands for the
    platform's own quota.
    """

    platform: str
    client_id: str
    window_ms: int
    number: int
    free_at: float
    boot_id: str
    owner: str
