"""qnetem.runtime.errors: the one tree of errors that are raised on purpose. Pure: no gRPC; runtime.rpc translates it.

A domain error subclasses one of the families below and sets its own `reason`. Over the wire an error is a status, a
reason and a definiteness; a client gets the class of that reason back when it has imported it, else the family's.
"""

from enum import StrEnum
from typing import ClassVar

__all__ = [
    "AlreadyExistsError",
    "BadInputError",
    "ConflictError",
    "DeadlineError",
    "DeniedError",
    "NotFoundError",
    "QnetemError",
    "StartError",
    "Status",
    "StorageError",
    "UnavailableError",
    "error_class",
    "first_known",
]


class Status(StrEnum):
    """The gRPC status codes that our errors use, by their names."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    INTERNAL = "INTERNAL"


class QnetemError(Exception):
    """Base of all we raise on purpose. `is_definite`: what was asked for did not, and never will, happen."""

    reason: ClassVar[str] = "INTERNAL"
    status: ClassVar[Status] = Status.INTERNAL
    is_definite: ClassVar[bool] = False

    _by_reason: ClassVar[dict[str, type["QnetemError"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        QnetemError._by_reason.setdefault(cls.reason, cls)


class BadInputError(QnetemError):
    """What was given cannot be used; the text names it."""

    reason = "BAD_INPUT"
    status = Status.INVALID_ARGUMENT
    is_definite = True


class NotFoundError(QnetemError):
    """The thing that was named is not there."""

    reason = "NOT_FOUND"
    status = Status.NOT_FOUND
    is_definite = True


class AlreadyExistsError(QnetemError):
    """A thing of that name is there already."""

    reason = "ALREADY_EXISTS"
    status = Status.ALREADY_EXISTS
    is_definite = True


class ConflictError(QnetemError):
    """The state of things does not allow it."""

    reason = "CONFLICT"
    status = Status.FAILED_PRECONDITION
    is_definite = True


class DeniedError(QnetemError):
    """The caller is known and may not do this."""

    reason = "DENIED"
    status = Status.PERMISSION_DENIED
    is_definite = True


class UnavailableError(QnetemError):
    """The other side cannot be reached or does not serve now; whether it acted is unknown."""

    reason = "UNAVAILABLE"
    status = Status.UNAVAILABLE


class DeadlineError(QnetemError):
    """No answer within the deadline; whether the other side acted is unknown."""

    reason = "DEADLINE"
    status = Status.DEADLINE_EXCEEDED


class StorageError(QnetemError):
    """Durable state cannot be read or written (disk full, damaged, no permission)."""

    reason = "STORAGE"
    status = Status.RESOURCE_EXHAUSTED


class StartError(QnetemError):
    """A process or a testbed could not start (port in use, broken certificate): exit code 4."""

    reason = "START"
    status = Status.FAILED_PRECONDITION
    is_definite = True


_FAMILIES: dict[str, type[QnetemError]] = {
    family.status: family
    for family in (
        BadInputError,
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        DeniedError,
        UnavailableError,
        DeadlineError,
        StorageError,
    )
}
_FAMILIES[Status.UNAUTHENTICATED] = DeniedError


def error_class(status: str, reason: str | None) -> type[QnetemError]:
    """Return the class that stands for a status and reason from the wire: the reason's own, else the status's."""
    if reason is not None and reason in QnetemError._by_reason:
        return QnetemError._by_reason[reason]
    return _FAMILIES.get(status, QnetemError)


def first_known(error: BaseException) -> QnetemError | None:
    """Return the first of our errors in an exception or a group of them; None when there are only others."""
    if isinstance(error, QnetemError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((known for part in error.exceptions if (known := first_known(part)) is not None), None)
    return None
