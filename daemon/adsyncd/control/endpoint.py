"""One endpoint of /v1, as a value."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from adsyncd.control import wire
from adsyncd.control.problem import ProblemDetails

Subject = TypeVar("Subject")

GONE = {HTTPStatus.SERVICE_UNAVAILABLE: "The database can't be used."}


@dataclass(frozen=True, slots=True)
class Asked:
    """The validated parameters of a request: the tenant and the run in its path, its query and its order, if any.

    `notes`: fields that a command adds to its line in the log; of these, `outcome` replaces `done`.
    """

    tenant: str = ""
    run: str = ""
    query: Any = None
    order: Any = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Subject]):
    """A question (GET) or a command (POST), which `call` answers by a Subject: the Commands or the Overview.

    `answer` is the type that `call` returns; of a list, it may return a page as `Listed`. `refusals` has the error
    statuses besides those of every endpoint, each with its reason; `conflict` is the type of a 409.
    """

    method: str
    path: str
    summary: str
    answer: Any
    call: Callable[[Subject, Asked], Awaitable[object]]
    query: type[wire.Query] = wire.Query
    order: type[wire.Order] | None = None
    status: HTTPStatus = HTTPStatus.OK
    refusals: Mapping[HTTPStatus, str] = field(default_factory=dict)
    conflict: type[ProblemDetails] = ProblemDetails
