"""qnetem.cli.failures: what a failure is called on standard error, and which exit code it gives. Edge."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

from qnetem.runtime.errors import (
    AlreadyExistsError,
    BadInputError,
    DeadlineError,
    NotFoundError,
    QnetemError,
    StartError,
    StorageError,
    UnavailableError,
)

__all__ = ["DEVIATED", "INCONCLUSIVE", "INTERRUPTED", "INVALID", "NOT_DEPLOYED", "exit_code", "guarded", "lines_of"]

DEVIATED: Final = 1
INCONCLUSIVE: Final = 2
INVALID: Final = 3
NOT_DEPLOYED: Final = 4
# what a shell reports of a program that SIGINT ended
INTERRUPTED: Final = 130

_CODES: Final[tuple[tuple[type[QnetemError], int], ...]] = (
    (BadInputError, INVALID),
    (NotFoundError, INVALID),
    (AlreadyExistsError, INVALID),
    (StartError, NOT_DEPLOYED),
    (StorageError, NOT_DEPLOYED),
    (UnavailableError, INCONCLUSIVE),
    (DeadlineError, INCONCLUSIVE),
)
# of errors whose family would say something else
_CODES_BY_REASON: Final = {"TOPOLOGY_CHANGED": INVALID, "BUSY": NOT_DEPLOYED}


def exit_code(error: QnetemError) -> int:
    """Return the exit code that tells of an error."""
    by_family = (code for family, code in _CODES if isinstance(error, family))
    return _CODES_BY_REASON.get(error.reason) or next(by_family, DEVIATED)


def lines_of(error: BaseException) -> list[str]:
    """Return what standard error is told, one line per problem."""
    text = str(error).strip() or type(error).__name__
    return [f"qnetem: {line.strip()}" for line in text.splitlines() if line.strip()]


def guarded(run: Callable[[], Any]) -> int:
    """Run the command line; turn whatever it raises into lines and an exit code.

    With QNETEM_DEBUG=1 in the environment nothing is caught, so that the traceback is seen.
    """
    if os.environ.get("QNETEM_DEBUG") == "1":
        return _code_of(run())
    try:
        return _code_of(run())
    except QnetemError as error:
        return _told(lines_of(error), exit_code(error))
    except KeyboardInterrupt:
        return _told(["qnetem: interrupted"], INTERRUPTED)
    except BrokenPipeError:
        return _unread()
    except SystemExit as error:  # click's way with a broken pipe
        if isinstance(error.__context__, BrokenPipeError):
            return _unread()
        raise
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error))
            return 0
        if hasattr(error, "format_message"):  # of typer, or of the click below it: a usage error
            return _told([f"qnetem: {error.format_message()}"], INVALID)
        if type(error).__name__ == "Abort":
            return _told(["qnetem: interrupted"], INTERRUPTED)
        if isinstance(error, BaseExceptionGroup) and (known := _known(error)) is not None:
            return _told(lines_of(known), exit_code(known))
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _told([f"qnetem: internal error: {what} (QNETEM_DEBUG=1 shows where)"], DEVIATED)


def _unread() -> int:
    """Whoever reads has seen enough; nothing more may be written when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _code_of(result: Any) -> int:
    # typer turns Ctrl-C into this code, in silence
    return _told(["qnetem: interrupted"], INTERRUPTED) if result == INTERRUPTED else int(result or 0)


def _known(error: BaseException) -> QnetemError | None:
    if isinstance(error, BaseExceptionGroup):
        return next((known for part in error.exceptions if (known := _known(part)) is not None), None)
    return error if isinstance(error, QnetemError) else None


def _told(lines: list[str], code: int) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code
