"""qnetem.cli.links: `link set show reset down up`. Wiring."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table, say
from qnetem.cli.testbeds import client_of, run

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient
    from qnetem.testbed.settings import Way

__all__ = ["ForOption", "RampOption", "link"]

link = typer.Typer(no_args_is_help=True, help="Change a link of the running testbed, and look at it.")
_Id = Annotated[str, typer.Argument(metavar="LINK", help="Id of the link, as `inspect` names it.")]


class Plane(StrEnum):
    """What of a link is meant."""

    BOTH = "both"
    QUANTUM = "quantum"
    CLASSICAL = "classical"


_PlaneOption = Annotated[Plane, typer.Option("--plane", help="What of it: fibre, classical line, or both.")]
_DirectionOption = Annotated[
    str | None,
    typer.Option(
        "--direction", metavar="A-B", help="From A to B alone; light goes one way anyhow. Default: both ways."
    ),
]
RampOption = Annotated[
    str | None, typer.Option("--ramp", metavar="TIME", help="Go there in a line, such as 10s; emulated time.")
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="For so long, such as 60s; emulated time. Default: until reset."),
]


def _told(
    topology: Path | None,
    form: Format,
    ask: Callable[["TestbedClient"], Awaitable[Any]],
    is_table: bool = False,
    is_all: bool = False,
) -> None:
    """Ask the supervisor, print the link that it answers."""

    async def told() -> Any:
        async with client_of(topology) as client:
            return await ask(client)

    from qnetem.cli.settings import link_rows, summary
    from qnetem.testbed.link_values import link_values

    values = link_values(run(told()))
    if form is Format.JSON:
        print_json(values)
    elif is_table:
        header, rows, hidden_count = link_rows(values, is_all=is_all)
        print_table(header, rows, title=f"link {values['link_id']}")
        if hidden_count:
            say(f"{hidden_count} more are off, or constants (--all shows them)")
    else:
        print(summary(values))


@link.command("set")
def set_(
    link_id: _Id,
    settings: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="As in a topology: extra_loss=6dB")],
    ramp: RampOption = None,
    duration: ForOption = None,
    direction: _DirectionOption = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Set parameters of a link; they hold until reset or for a time, whatever restarts."""
    from qnetem.testbed.settings import settings_of, span_s

    quantum, classical = settings_of(settings)
    ramp_s, duration_s = span_s("--ramp", ramp), span_s("--for", duration)

    async def set_there(client: "TestbedClient") -> Any:
        chosen = quantum, classical
        if direction is not None:
            chosen = (await _way(client, link_id, direction)).settings(*chosen)
        return await client.set_link(link_id, *chosen, ramp_s=ramp_s, duration_s=duration_s)

    _told(topology, form, set_there)


async def _way(client: "TestbedClient", link_id: str, direction: str) -> "Way":
    """Return the way of a link that is meant. Raises BadInputError, NotFoundError."""
    from qnetem.runtime.errors import NotFoundError
    from qnetem.testbed.settings import Way
    from qnetem.topology.words import did_you_mean, shown

    places = {place.link_id: place for place in (await client.get()).links}
    if link_id not in places:
        raise NotFoundError(f"no link {shown(link_id)}" + did_you_mean(link_id, places))
    return Way.of(direction, link_id, places[link_id].endpoints, places[link_id].transmitter)


@link.command()
def show(
    link_id: _Id,
    is_all: Annotated[bool, typer.Option("--all", help="Also what is off, or a constant of nature.")] = False,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what was requested of a link, and what is achieved."""
    _told(topology, form, lambda client: client.get_link(link_id), is_table=True, is_all=is_all)


@link.command()
def reset(
    link_id: _Id,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY...]", help="Default: everything.")] = None,
    direction: _DirectionOption = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Take settings of a link back, all where none is named; what was planned holds again."""
    from qnetem.runtime.errors import BadInputError
    from qnetem.testbed.settings import fields_of

    if direction is not None and not keys:
        raise BadInputError("--direction: name what to reset one way")
    quantum, classical = fields_of(keys or ())

    async def reset_there(client: "TestbedClient") -> Any:
        names = quantum, classical
        if direction is not None:
            names = (await _way(client, link_id, direction)).fields(*names)
        return await client.reset_link(link_id, *names, is_all=not keys)

    _told(topology, form, reset_there)


@link.command()
def down(
    link_id: _Id,
    plane: _PlaneOption = Plane.BOTH,
    duration: ForOption = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Cut a link: nothing passes until it is up again, or for a time."""
    from qnetem.testbed.settings import span_s
    from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

    quantum = LinkSettings(is_up=False) if plane is not Plane.CLASSICAL else None
    classical = ClassicalSettings(is_up=False) if plane is not Plane.QUANTUM else None
    duration_s = span_s("--for", duration)
    _told(topology, form, lambda client: client.set_link(link_id, quantum, classical, duration_s=duration_s))


@link.command()
def up(
    link_id: _Id, plane: _PlaneOption = Plane.BOTH, topology: TopologyOption = None, form: FormatOption = Format.TABLE
) -> None:
    """Mend a link that was cut; its other settings stay."""
    quantum = ["is_up"] if plane is not Plane.CLASSICAL else []
    classical = ["is_up"] if plane is not Plane.QUANTUM else []
    _told(topology, form, lambda client: client.reset_link(link_id, quantum, classical))
