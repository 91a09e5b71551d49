"""qnetem.cli.acting: `start stop restart kill pause resume`. Wiring."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.report import STYLES, process_rows
from qnetem.cli.testbeds import client_of, run

if TYPE_CHECKING:
    from qnetem.v1.supervisor_pb2 import ProcessStatus

__all__ = ["ACTIONS", "Names", "print_processes", "verb"]

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Processes, as `inspect` names them.")]
ACTIONS = {
    "start": "Start processes that are stopped, or have failed.",
    "stop": "Stop processes; they stay so until started.",
    "restart": "Stop processes and start them again.",
    "kill": "Kill processes (kill -9), as a fault would; the supervisor starts them again.",
    "pause": "Freeze processes (SIGSTOP): their connections stay, nothing answers.",
    "resume": "Let frozen processes go on.",
}


def verb(action: str) -> Callable[..., None]:
    """Return the command of an action."""

    def command(names: Names, topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> None:
        run(_act(action, names, topology, form))

    command.__doc__ = ACTIONS[action]
    return command


async def _act(action: str, names: list[str], topology: Path | None, form: Format) -> None:
    from qnetem.v1.supervisor_pb2 import ProcessAction

    async with client_of(topology) as client:
        processes = await client.act(ProcessAction.Value(f"PROCESS_ACTION_{action.upper()}"), names)
    print_processes(processes, form)


def print_processes(processes: "Iterable[ProcessStatus]", form: Format) -> None:
    """Print what processes are after something was done to them."""
    from qnetem.testbed.inspected import process_values

    values = [process_values(process) for process in processes]
    if form is Format.JSON:
        print_json(values)
    else:
        print_table(*process_rows(values), right=("PID", "RESTARTS"), styles=STYLES)
