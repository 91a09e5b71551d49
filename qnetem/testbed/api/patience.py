"""qnetem.testbed.api.patience: how long something is waited for, what was seen meanwhile. Pure."""

import inspect
import linecache
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from qnetem.runtime.errors import BadInputError, DeadlineError, QnetemError
from qnetem.topology.units import Quantity

__all__ = ["EVERY_S", "NotInTimeError", "Patience", "seconds", "text_of"]

EVERY_S: Final = 0.05
_SPAN: Final = Quantity(name="a time", units={"ms": -3, "s": 0}, minimum=0, maximum=86_400, example="30s")
_LONGEST: Final = 600


class NotInTimeError(DeadlineError, AssertionError):
    """Something did not come about in time: says what was waited for, what was seen last, and the last log lines."""

    reason: ClassVar[str] = "NOT_IN_TIME"


def seconds(within: str) -> float:
    """Return the wall seconds of a time with its unit, such as "30s" or "500ms".

    Raises:
        BadInputError: It is another thing.
    """
    try:
        return float(_SPAN.parse(within))
    except ValueError as error:
        raise BadInputError(f"within: {error}") from None


def text_of(condition: Callable[..., object]) -> str:
    """Return how a condition is called in an error: the first line of its docstring, a lambda's source, its name."""
    said = inspect.getdoc(condition)
    if said and inspect.isroutine(condition):
        return said.splitlines()[0].rstrip(".")
    name = str(getattr(condition, "__name__", type(condition).__name__))
    code = getattr(condition, "__code__", None)
    if name == "<lambda>" and code is not None:
        return linecache.getline(code.co_filename, code.co_firstlineno).strip() or "a condition"
    return name.replace("_", " ")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a user's object
        text = f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


class Patience:
    """Judges attempts until one holds or time is up. The caller has the clock, and makes the attempts."""

    def __init__(self, what: str, within: str, now_s: float) -> None:
        """Wait for `what` from now on.

        Raises:
            BadInputError: `within` is no time.
        """
        self.what = what
        self.within = within
        self.deadline_s = now_s + seconds(within)
        self._seen = "nothing: the condition did not return"

    def is_held(self, value: Any, holds: Callable[[Any], bool] = bool) -> bool:
        """Return whether a condition holds that returned this, as `holds` judges it."""
        hint = " (a condition that only asserts has to return True)" if value is None else ""
        self._seen = _shown(value) + hint
        return holds(value)

    def excuse(self, error: Exception) -> None:
        """Take what a condition raised for "not yet".

        Raises:
            Exception: `error` itself, when it is no such thing.
        """
        is_passing = isinstance(error, QnetemError) and not error.is_definite
        if not is_passing and not isinstance(error, AssertionError):
            raise error
        kind = "" if type(error) is AssertionError else f"{type(error).__name__}: "
        self._seen = f"{kind}{error}"

    def is_over(self, now_s: float) -> bool:
        """Return whether time is up."""
        return now_s >= self.deadline_s

    def error(self, evidence: Sequence[str]) -> NotInTimeError:
        """Return what to raise; `evidence` are lines about the testbed."""
        head = [f"not within {self.within}: {self.what}", f"seen last: {self._seen}"]
        return NotInTimeError("\n".join([*head, *evidence]))
