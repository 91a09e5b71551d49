"""qnetem.cli.inspecting: `inspect`. Wiring."""

from typing import Any, Final

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import client_of, run

__all__ = ["STYLES", "inspect", "told"]

STYLES: Final = {
    "HEALTHY": "green",
    "OPERATING": "green",
    "OPERATING (idle)": "green",
    "DEGRADED": "yellow",
    "COMMISSIONING": "yellow",
    "STARTING": "yellow",
    "RESTARTING": "yellow",
    "PAUSED": "yellow",
    "UNHEALTHY": "red",
    "FAILED": "red",
    "DOWN": "red",
    "UNKNOWN": "red",
}


async def told(topology: Any) -> dict[str, Any]:
    """Return what the supervisor and the nodes say, as JSON values."""
    from qnetem.testbed.inspected import inspected_values

    async with client_of(topology) as client:
        return inspected_values(await client.inspect())


def inspect(topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> None:
    """Show processes, links and pools of keys of the running testbed."""
    values = run(told(topology))
    if form is Format.JSON:
        print_json(values)
        return
    from qnetem.cli.report import link_rows, pool_rows, process_rows

    scale = "" if values["scale"] == 1 else f", time x {values['scale']:g}"
    print(f"testbed {values['name']}, seed {values['seed']}{scale}: {values['topology_path']}\n")
    print_table(*process_rows(values["processes"]), right=("PID", "RESTARTS"), styles=STYLES)
    print()
    print_table(*link_rows(values["links"]), right=("QBER", "CLICKS", "SIFTED", "SECRET (GROSS)"), styles=STYLES)
    if values["pools"]:
        print()
        print_table(*pool_rows(values["pools"]), right=("AVAILABLE", "OF THE PEER", "ASSIGNED", "DELIVERED"))
