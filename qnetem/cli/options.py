"""qnetem.cli.options: options that many verbs share. Pure."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Format", "FormatOption", "TopologyOption", "duration_s"]


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


TopologyOption = Annotated[
    Path | None,
    typer.Option(
        "--topology",
        "-t",
        metavar="FILE",
        envvar="QNETEM_TOPOLOGY",
        help="Topology file; default: the one topology in this folder.",
        show_default=False,
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print: for people or for programs.")]


def duration_s(text: str) -> float:
    """Return the wall seconds of a duration with its unit ("90s", "500ms").

    Raises:
        BadInputError: It is no duration, or longer than a day.
    """
    from qnetem.runtime.errors import BadInputError
    from qnetem.topology.units import Quantity

    quantity = Quantity(name="a time", units={"ms": -3, "s": 0}, minimum=0, maximum=86_400, example="90s")
    try:
        return quantity.parse(text)
    except ValueError as error:
        raise BadInputError(str(error)) from None
