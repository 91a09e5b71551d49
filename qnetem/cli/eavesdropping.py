"""qnetem.cli.eavesdropping: `eve attach detach list`. Wiring."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.links import ForOption, RampOption
from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import client_of, run

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient
    from qnetem.v1.supervisor_pb2 import LinkReport

__all__ = ["eve"]

eve = typer.Typer(no_args_is_help=True, help="An eavesdropper on links of the running testbed.")
_Id = Annotated[str, typer.Argument(metavar="LINK", help="Id of the link, as `inspect` names it.")]
_Attack = Annotated[
    str,
    typer.Argument(
        metavar="ATTACK",
        help="intercept-resend, photon-number-splitting, beam-splitting, blinding, time-shift, trojan or delay.",
    ),
]


@eve.command()
def attach(
    link_id: _Id,
    attack: _Attack,
    fraction: Annotated[str | None, typer.Option("--fraction", help="Of pulses, slots or loss: 10%.")] = None,
    shift: Annotated[str | None, typer.Option("--shift", help="Of a time shift: 100ps.")] = None,
    photons: Annotated[str | None, typer.Option("--photons", help="That come back of a Trojan's: 0.01.")] = None,
    delay: Annotated[str | None, typer.Option("--delay", help="That she adds to the way forth: 5ns.")] = None,
    ramp: RampOption = None,
    duration: ForOption = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Have her on a link, until she is detached or for a time, whatever restarts."""
    from qnetem.testbed.eavesdropping import attack_settings
    from qnetem.testbed.settings import span_s

    given = {"fraction": fraction, "shift": shift, "photons": photons, "delay": delay}
    settings = attack_settings(attack, {name: value for name, value in given.items() if value is not None})
    ramp_s, duration_s = span_s("--ramp", ramp), span_s("--for", duration)

    async def attached() -> list[Any]:
        async with client_of(topology) as client:
            return [await client.set_link(link_id, settings, ramp_s=ramp_s, duration_s=duration_s)]

    _print(run(attached()), form)


@eve.command()
def detach(
    link_id: _Id,
    attack: Annotated[str | None, typer.Argument(metavar="[ATTACK]", help="Default: all.")] = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Take her away from a link, also where the topology has planned her; `link reset` brings that back."""
    from qnetem.testbed.eavesdropping import attack_of
    from qnetem.topology.attacks import ATTACKS

    attacks = [attack_of(attack)] if attack is not None else list(ATTACKS.values())
    names = [one.field.wire for one in attacks]

    async def detached() -> list[Any]:
        async with client_of(topology) as client:
            return [await _without(client, link_id, names)]

    _print(run(detached()), form)


async def _without(client: "TestbedClient", link_id: str, names: list[str]) -> "LinkReport":
    """Return a link after settings of it were taken back, and set to nothing where they were planned."""
    from qnetem.v1.parameters_pb2 import LinkSettings

    report = await client.reset_link(link_id, names)
    faults = {descriptor.name for fault in report.faults for descriptor, _ in fault.quantum.ListFields()}
    # a channel that does not run does not tell what is planned
    is_there = [not report.HasField("quantum") or getattr(report.quantum.effective, name) > 0 for name in names]
    planned = {name: 0.0 for name, is_one in zip(names, is_there, strict=True) if is_one and name not in faults}
    return await client.set_link(link_id, LinkSettings(**planned)) if planned else report  # type: ignore[arg-type]


@eve.command("list")
def list_(topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> None:
    """Show who listens where: what was asked for, and what is in force."""

    async def listed() -> list[Any]:
        async with client_of(topology) as client:
            places = (await client.get()).links
            return [await client.get_link(place.link_id) for place in places]

    _print(run(listed()), form)


def _print(reports: "list[LinkReport]", form: Format) -> None:
    from qnetem.cli.settings import how
    from qnetem.testbed.eavesdropping import attacks_on
    from qnetem.testbed.link_values import link_values

    attacks = [attack for report in reports for attack in attacks_on(link_values(report))]
    if form is Format.JSON:
        print_json(attacks)
        return
    if not attacks:
        print("nobody listens" + (f" on {reports[0].link_id}" if len(reports) == 1 else ""))
        return
    rows = [
        (
            one["link_id"],
            one["attack"],
            one["strength"],
            _text(one["requested"], ""),
            _text(one["achieved"], "the channel does not run"),
            how(one),
        )
        for one in attacks
    ]
    print_table(("LINK", "ATTACK", "STRENGTH", "REQUESTED", "ACHIEVED", "HOW"), rows)


def _text(value: Any, otherwise: str) -> str:
    return otherwise if value is None else str(value)
