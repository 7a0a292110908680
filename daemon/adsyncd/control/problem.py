"""Errors as the control API answers them."""

from pydantic import BaseModel, ConfigDict

from adsyncd.model.status import Reloaded


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)


class ProblemDetails(Answer):
    """An error as problem details (RFC 9457). `fix` says what to do about it."""

    title: str
    status: int
    detail: str
    fix: str | None = None


class FilesRefusedProblem(ProblemDetails):
    """A reload refused some drop-ins. The others are in force; refused ones keep their last good version."""

    report: Reloaded
