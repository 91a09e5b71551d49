"""qnetem.cli.checking: `check physics`. Wiring."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.failures import DEVIATED
from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table, say
from qnetem.cli.testbeds import plan_of, run, state_of

if TYPE_CHECKING:
    from qnetem.testbed.measuring.comparison import Row
    from qnetem.testbed.measuring.probing import Measured

__all__ = ["check"]

check = typer.Typer(no_args_is_help=True, help="Measure what runs against what it is configured to be.")
_MOST_CLICKS = 10**8
_HEADER = ("QUANTITY", "CONFIGURED", "MEASURED", "95 % FROM", "TO", "SIGMA", "")


@check.callback()
def _group() -> None:
    """Make `physics` a verb of its own though it is alone."""


@check.command()
def physics(
    links: Annotated[list[str] | None, typer.Argument(metavar="[LINK]...", help="Which; default: all.")] = None,
    clicks: Annotated[int, typer.Option(min=1000, max=_MOST_CLICKS, help="About so many clicks of each.")] = 1_000_000,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it too (.png, .pdf, .svg).")] = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Probe links of the running testbed: clicks, errors, timing, with intervals; 1 when chance cannot explain them.

    An eavesdropper or a device out of order shows as a deviation: what is checked is the honest link that the
    parameters in force describe.
    """
    from qnetem.testbed.measuring.plotting import plotter

    # before the work: it needs matplotlib
    draw = plotter(plot) if plot is not None else None
    found = run(_all(topology, links or [], clicks))
    if form is Format.JSON:
        print_json([_values(one) for one in found])
    else:
        for number, one in enumerate(found):
            title = f"link {one.link_id}: {one.tally.click_count} clicks of {one.tally.pulse_count:.3g} pulses"
            if number:
                print()
            print_table(_HEADER, [_cells(row) for row in one.rows], title=title, right=_HEADER[1:-1], styles=_STYLES)
    if draw is not None:
        draw(found)
        say(f"{plot}: drawn")
    return 0 if all(one.agrees for one in found) else DEVIATED


_STYLES = {"deviates": "red"}


async def _all(topology: Path | None, links: list[str], clicks: int) -> "list[Measured]":
    from qnetem.runtime.errors import UnavailableError
    from qnetem.testbed.measuring.probing import measured

    state = state_of(topology)
    plan, last = plan_of(state), state.launch()
    if last is None or not last.is_running:
        raise UnavailableError(f"testbed {plan.testbed} is not running")
    return [one async for one in measured(state.layout, plan, links, clicks)]


def _cells(row: "Row") -> tuple[str, ...]:
    unit = f" {row.unit}" if row.unit else ""
    numbers = (f"{value:.6g}{unit}" for value in (row.configured, row.measured, row.low, row.high))
    return (row.quantity, *numbers, f"{row.sigmas:+.1f}", "" if row.agrees else "deviates")


def _values(one: "Measured") -> dict[str, Any]:
    return {
        "link_id": one.link_id,
        "pulse_count": one.tally.pulse_count,
        "click_count": one.tally.click_count,
        "agrees": one.agrees,
        "rows": [asdict(row) | {"agrees": row.agrees} for row in one.rows],
    }
