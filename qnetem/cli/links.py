"""qnetem.cli.links: `link set show reset down up`. Wiring."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import client_of, run

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient

__all__ = ["link"]

link = typer.Typer(no_args_is_help=True, help="Change a link of the running testbed, and look at it.")
_Id = Annotated[str, typer.Argument(metavar="LINK", help="Id of the link, as `inspect` names it.")]


class Plane(StrEnum):
    """What of a link is meant."""

    BOTH = "both"
    QUANTUM = "quantum"
    CLASSICAL = "classical"


_PlaneOption = Annotated[Plane, typer.Option("--plane", help="What of it: fibre, classical line, or both.")]


def _told(
    topology: Path | None,
    form: Format,
    ask: Callable[["TestbedClient"], Awaitable[Any]],
    is_table: bool = False,
) -> None:
    """Ask the supervisor, print the link that it answers."""

    async def told() -> Any:
        async with client_of(topology) as client:
            return await ask(client)

    from qnetem.cli.settings import link_rows, summary
    from qnetem.testbed.settings import link_values

    values = link_values(run(told()))
    if form is Format.JSON:
        print_json(values)
    elif is_table:
        print_table(*link_rows(values), title=f"link {values['link_id']}")
    else:
        print(summary(values))


@link.command("set")
def set_(
    link_id: _Id,
    settings: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="As in a topology: extra_loss=6dB")],
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Set parameters of a link; they hold until reset, whatever restarts."""
    from qnetem.testbed.settings import settings_of

    quantum, classical = settings_of(settings)
    _told(topology, form, lambda client: client.set_link(link_id, quantum, classical))


@link.command()
def show(link_id: _Id, topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> None:
    """Show the parameters in force on a link, and those the operator has set."""
    _told(topology, form, lambda client: client.get_link(link_id), is_table=True)


@link.command()
def reset(
    link_id: _Id,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY...]", help="Default: everything.")] = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Take settings of a link back, all where none is named; what was planned holds again."""
    from qnetem.testbed.settings import fields_of

    quantum, classical = fields_of(keys or ())
    _told(topology, form, lambda client: client.reset_link(link_id, quantum, classical, is_all=not keys))


@link.command()
def down(
    link_id: _Id, plane: _PlaneOption = Plane.BOTH, topology: TopologyOption = None, form: FormatOption = Format.TABLE
) -> None:
    """Cut a link: nothing passes until it is up again."""
    from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

    quantum = LinkSettings(is_up=False) if plane is not Plane.CLASSICAL else None
    classical = ClassicalSettings(is_up=False) if plane is not Plane.QUANTUM else None
    _told(topology, form, lambda client: client.set_link(link_id, quantum, classical))


@link.command()
def up(
    link_id: _Id, plane: _PlaneOption = Plane.BOTH, topology: TopologyOption = None, form: FormatOption = Format.TABLE
) -> None:
    """Mend a link that was cut; its other settings stay."""
    quantum = ["is_up"] if plane is not Plane.CLASSICAL else []
    classical = ["is_up"] if plane is not Plane.QUANTUM else []
    _told(topology, form, lambda client: client.reset_link(link_id, quantum, classical))
