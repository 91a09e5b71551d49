"""qnetem.cli.paths: `paths list install`. Wiring."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import client_of, plan_of, run, state_of

if TYPE_CHECKING:
    from qnetem.testbed.paths import NodePaths, Paths

__all__ = ["HEADER", "paths", "rows"]

HEADER: Final = ("NODE", "TARGET", "RANK", "PATH", "BITS", "ROUND TRIP", "FROM", "VERSION", "GONE AROUND")

paths = typer.Typer(no_args_is_help=True, help="The paths that nodes relay keys on: look at them, or give them.")


@asynccontextmanager
async def _paths_of(topology: Path | None) -> "AsyncIterator[Paths]":
    from qnetem.testbed.api.connection import Connection
    from qnetem.testbed.paths import Paths

    state = state_of(topology)
    async with client_of(topology) as client, AsyncExitStack() as stack:
        yield Paths(Connection(client, state.layout, plan_of(state), stack))


@paths.command("list")
def list_(
    nodes: Annotated[list[str] | None, typer.Option("--node", metavar="NODE", help="Of it; again for more.")] = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show the paths in force, the best first, and hops that are gone around: 2 when a node does not say."""
    from dataclasses import asdict

    from qnetem.cli.failures import INCONCLUSIVE

    async def told() -> "list[NodePaths]":
        async with _paths_of(topology) as asked:
            return await asked.in_force(*nodes or ())

    found = run(told())
    if form is Format.JSON:
        print_json([asdict(one) for one in found])
    else:
        print_table(HEADER, rows(found), right=("RANK", "VERSION"))
    return INCONCLUSIVE if any(one.unknown for one in found) else 0


@paths.command()
def install(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="YAML or JSON: see controller.md.")] = None,
    ways: Annotated[
        list[str] | None, typer.Option("--path", metavar="A/RELAY/B", help="One path; again for more, best first.")
    ] = None,
    both_ways: Annotated[bool, typer.Option("--both-ways", help="Also each path the other way around.")] = False,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Give nodes their paths where there is no controller; what a node had before goes."""
    from qnetem.runtime.errors import BadInputError
    from qnetem.testbed.paths import path_of, paths_in_file

    if (file is None) == (not ways):
        raise BadInputError("either FILE or --path A/RELAY/B is needed")
    given = paths_in_file(file) if file is not None else [path_of(way) for way in ways or ()]
    if both_ways:
        given += [way[::-1] for way in given]

    async def installed() -> dict[str, int]:
        async with _paths_of(topology) as asked:
            return await asked.install(given)

    versions = run(installed())
    if form is Format.JSON:
        print_json(versions)
    else:
        print_table(("NODE", "VERSION"), [(node, str(version)) for node, version in versions.items()])


def rows(found: "list[NodePaths]") -> list[tuple[str, ...]]:
    """Return paths as rows under HEADER; a hop that is gone around stands with its paths, or by itself."""
    from itertools import pairwise

    from qnetem.cli.figures import count_text, span_text

    table: list[tuple[str, ...]] = []
    for one in found:
        origin = (one.controller or "-", str(one.version) if one.version else "-")
        left = {f"{hop.from_node}/{hop.to_node}": span_text(hop.left_s) for hop in one.suspects}
        for path in one.paths:
            hops = [f"{near}/{far}" for near, far in pairwise(path.nodes)]
            table.append(
                (
                    *(one.node, path.target, str(path.rank), "/".join(path.nodes)),
                    count_text(path.available_bits, "bit") if path.available_bits else "-",
                    f"{path.round_trip_s * 1e3:.3g} ms" if path.round_trip_s else "-",
                    *origin,
                    ", ".join(f"{hop} {left[hop]}" for hop in hops if hop in left) or "-",
                )
            )
        shown = {f"{near}/{far}" for path in one.paths for near, far in pairwise(path.nodes)}
        lone = ", ".join(f"{hop} {span}" for hop, span in left.items() if hop not in shown)
        if lone or not one.paths:
            table.append((one.node, "-", "-", one.unknown or "-", "-", "-", *origin, lone or "-"))
    return table
