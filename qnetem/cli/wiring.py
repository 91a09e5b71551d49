"""qnetem.cli.wiring: `disconnect` and `connect`. Wiring."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qnetem.cli.acting import Names, print_processes
from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.testbeds import client_of, run

__all__ = ["connect", "disconnect"]


class _Plane(StrEnum):
    """What joins processes."""

    QUANTUM = "quantum"
    CLASSICAL = "classical"
    MANAGEMENT = "management"


_Planes = Annotated[
    list[_Plane] | None, typer.Option("--plane", help="Which; again for more. Default: all that a process is on.")
]


def disconnect(
    names: Names, plane: _Planes = None, topology: TopologyOption = None, form: FormatOption = Format.TABLE
) -> None:
    """Take processes off planes, as a pulled cable would, until `connect` or `down`; whatever restarts."""
    run(_rewired("disconnect", names, plane or [], topology, form))


def connect(
    names: Names, plane: _Planes = None, topology: TopologyOption = None, form: FormatOption = Format.TABLE
) -> None:
    """Join processes to planes again."""
    run(_rewired("connect", names, plane or [], topology, form))


async def _rewired(verb: str, names: list[str], planes: list[_Plane], topology: Path | None, form: Format) -> None:
    from qnetem.testbed.planes import plane_values

    async with client_of(topology) as client:
        act = client.disconnect if verb == "disconnect" else client.connect
        print_processes(await act(names, plane_values(planes)), form)
