"""qnetem.cli.refreshing: `inspect --watch`. Edge.

On a terminal the tables change in place; elsewhere each look is appended. A testbed that goes down, or does not answer,
is told once and looked for until it is back.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from qnetem.cli.inspecting import Inspection, head, print_tables, tables
from qnetem.cli.options import Format
from qnetem.cli.output import rich_table, say
from qnetem.cli.report import STYLES
from qnetem.cli.testbeds import run, state_of
from qnetem.runtime.errors import BadInputError, DeadlineError, UnavailableError
from qnetem.testbed.client import NotRunningError, connect

if TYPE_CHECKING:
    from rich.live import Live

    from qnetem.testbed.state import State

__all__ = ["refreshed"]

_SHORTEST_S: Final = 0.1


class _Screen(Protocol):
    def show(self, values: dict[str, Any]) -> None: ...

    def tell(self, trouble: str) -> None: ...


class _Terminal:
    """Shows the last look in place of the one before."""

    def __init__(self, live: "Live") -> None:
        self._live = live

    def show(self, values: dict[str, Any]) -> None:
        from rich.console import Group
        from rich.text import Text

        parts = [rich_table(table.header, table.rows, right=table.right, styles=STYLES) for table in tables(values)]
        self._live.update(Group(Text(f"{_now()}  {head(values)}"), *parts), refresh=True)

    def tell(self, trouble: str) -> None:
        from rich.text import Text

        self._live.update(Text(f"{_now()}  {trouble} (Ctrl-C ends this)", style="red"), refresh=True)


class _Appended:
    """Prints each look below the one before, and trouble once."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._trouble = ""

    def show(self, values: dict[str, Any]) -> None:
        self._trouble = ""
        if self._form is Format.JSON:
            print(json.dumps(values), flush=True)
            return
        print(_now(), end="  ")
        print_tables(values)
        print(flush=True)

    def tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            say(f"{_now()}  {trouble}")


def _now() -> str:
    return f"{datetime.now():%H:%M:%S}"


@contextlib.contextmanager
def _screen(form: Format) -> Iterator[_Screen]:
    if form is Format.JSON or not sys.stdout.isatty():
        yield _Appended(form)
        return
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        yield _Terminal(live)


def refreshed(topology: Path | None, *, is_wide: bool, every_s: float, form: Format) -> None:
    """Show a testbed again and again, until Ctrl-C.

    Raises:
        BadInputError: More often than ten times a second is wanted.
        TopologyError, NotFoundError: There is no such testbed.
    """
    if every_s < _SHORTEST_S:
        raise BadInputError(f"--every is at least {1000 * _SHORTEST_S:.0f}ms")
    state = state_of(topology)
    with contextlib.suppress(KeyboardInterrupt), _screen(form) as screen:
        run(_watch(state, is_wide, every_s, screen))


async def _watch(state: "State", is_wide: bool, every_s: float, screen: _Screen) -> None:
    name = state.layout.root.name
    while True:
        try:
            async with connect(state) as client:
                inspection = Inspection(client, is_wide)
                while True:
                    screen.show(await inspection.values())
                    await asyncio.sleep(every_s)
        except NotRunningError as error:
            screen.tell(str(error))
        except (UnavailableError, DeadlineError):
            screen.tell(f"testbed {name} does not answer")
        await asyncio.sleep(every_s)
