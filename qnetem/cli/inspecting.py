"""qnetem.cli.inspecting: `inspect`. Wiring."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qnetem.cli.monitors import loop_rows, monitor_rows
from qnetem.cli.options import Format, FormatOption, TopologyOption, duration_s
from qnetem.cli.output import print_json, print_table
from qnetem.cli.report import STYLES, link_rows, pool_rows, process_rows, summary, usage_rows
from qnetem.cli.testbeds import client_of, run

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient
    from qnetem.v1 import supervisor_pb2

__all__ = ["Inspection", "Table", "head", "inspect", "print_tables", "tables", "told"]

_NUMBERS: Final = frozenset(
    {
        *("PID", "RESTARTS", "CPU", "MEMORY", "THREADS", "LAG"),
        *("QBER", "CLICKS", "SIFTED", "SECRET (GROSS)", "SECRET (NET)"),
        *("ERRORS", "AT BEST", "ALIGNED", "CLOCK", "SKEW", "WAY AND BACK", "GATE", "TRIM"),
        *("VALUE", "HONEST FROM", "TO"),
        *("AVAILABLE", "OF THE PEER", "ASSIGNED", "DELIVERED"),
    }
)
# two readings of CPU time so far apart give a load
_LOAD_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Table:
    """A table of `inspect`."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    @property
    def right(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return tuple(name for name in self.header if name in _NUMBERS)


def head(values: dict[str, Any]) -> str:
    """Return which testbed it is, and how it is on the whole, in two lines."""
    scale = "" if values["scale"] == 1 else f", time x {values['scale']:g}"
    return f"testbed {values['name']}, seed {values['seed']}{scale}: {values['topology_path']}\n{summary(values)}"


def tables(values: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables of `inspect`: processes, links, pools of keys."""
    is_wide = "own_processes" in values
    yield Table(*(usage_rows(values) if is_wide else process_rows(values["processes"])))
    if values["links"]:
        yield Table(*link_rows(values["links"]))
        if is_wide:
            yield Table(*loop_rows(values["links"]))
            yield Table(*monitor_rows(values["links"]))
    if values["pools"]:
        yield Table(*pool_rows(values["pools"]))


class Inspection:
    """Asks one testbed again and again."""

    def __init__(self, client: "TestbedClient", is_wide: bool) -> None:
        """Ask through `client`."""
        self._client = client
        self._is_wide = is_wide
        self._last: supervisor_pb2.InspectResponse | None = None

    async def values(self) -> dict[str, Any]:
        """Return what the supervisor and the nodes say now; the first time takes longer when it is wide."""
        import asyncio

        from qnetem.testbed.inspected import inspected_values

        if self._is_wide and self._last is None:
            self._last = await self._client.inspect(has_usage=True)
            await asyncio.sleep(_LOAD_S)
        response = await self._client.inspect(has_usage=self._is_wide)
        values = inspected_values(response, self._last)
        self._last = response
        return values


async def told(topology: Path | None, *, is_wide: bool = False) -> dict[str, Any]:
    """Return what the supervisor and the nodes say, as JSON values."""
    async with client_of(topology) as client:
        return await Inspection(client, is_wide).values()


def inspect(
    topology: TopologyOption = None,
    wide: Annotated[bool, typer.Option("--wide", help="What processes use, loops and monitors of links too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option(metavar="TIME", help="How often, with its unit.")] = "1s",
    form: FormatOption = Format.TABLE,
) -> None:
    """Show processes, links and pools of keys of the running testbed."""
    every_s = duration_s(every)
    if watch:
        from qnetem.cli.refreshing import refreshed

        refreshed(topology, is_wide=wide, every_s=every_s, form=form)
        return
    values = run(told(topology, is_wide=wide))
    if form is Format.JSON:
        print_json(values)
    else:
        print_tables(values)


def print_tables(values: dict[str, Any]) -> None:
    """Print what `inspect` shows people."""
    print(head(values))
    for table in tables(values):
        print()
        print_table(table.header, table.rows, right=table.right, styles=STYLES)
