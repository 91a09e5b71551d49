"""qnetem.testbed.api.waiting: waiting for conditions, with an error that tells what was seen. Edge."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.patience import EVERY_S, Patience, text_of

__all__ = ["eventually"]

_T = TypeVar("_T")


async def eventually(
    connection: Connection,
    condition: Callable[[], Awaitable[_T]],
    *,
    within: str,
    what: str = "",
    holds: Callable[[_T], bool] = bool,
    process: str | None = None,
) -> _T:
    """Return the first value of a condition that holds.

    Args:
        connection: The testbed that is watched; tells what was going on when the condition does not hold in time.
        condition: Called again and again; a plain function will do as well. "Not yet" is an AssertionError, and an
            error that is not definite.
        within: Wall time with its unit.
        what: What is waited for; otherwise the condition's own words.
        holds: Whether a value is what is waited for.
        process: Whose log lines the error holds; otherwise those of all.

    Raises:
        NotInTimeError: It did not hold in time.
        BadInputError: `within` is no time.
    """
    __tracebackhide__ = True  # pytest shows the test, not this
    loop = asyncio.get_running_loop()
    patience = Patience(what or text_of(condition), within, loop.time())
    while True:
        limit = asyncio.timeout_at(patience.deadline_s)
        try:
            async with limit:
                value: Any = condition()
                if inspect.isawaitable(value):
                    value = await value
            if patience.is_held(value, holds):
                return cast(_T, value)
        except TimeoutError:
            if not limit.expired():
                raise
            raise await connection.not_in_time(patience, process) from None
        except Exception as error:
            patience.excuse(error)
        if patience.is_over(loop.time()):
            raise await connection.not_in_time(patience, process)
        await asyncio.sleep(EVERY_S)
