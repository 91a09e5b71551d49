"""qnetem.cli.graphing: `graph`. Wiring."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from qnetem.cli.options import TopologyOption
from qnetem.cli.output import say
from qnetem.cli.testbeds import run, state_of, topology_path

__all__ = ["graph"]


class Drawing(StrEnum):
    """How a network is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


def graph(
    topology: TopologyOption = None,
    form: Annotated[
        Drawing | None,
        typer.Option("--format", "-f", help="As what; default: text on a terminal, else mermaid.", show_default=False),
    ] = None,
    is_static: Annotated[bool, typer.Option("--static", help="The file alone, also while its testbed runs.")] = False,
) -> None:
    """Draw the network; with the states of nodes and links while its testbed runs."""
    from qnetem import topology as topologies
    from qnetem.cli.graphs import dot, graph_of, mermaid, text_lines

    live = None if is_static else _live(topology)
    path, values = live or (topology_path(topology), None)
    drawn = graph_of(topologies.load(path), values)
    match form or (Drawing.TEXT if sys.stdout.isatty() else Drawing.MERMAID):
        case Drawing.MERMAID:
            print(mermaid(drawn), end="")
        case Drawing.DOT:
            print(dot(drawn), end="")
        case Drawing.TEXT:
            _print_text(text_lines(drawn))


def _live(topology: Path | None) -> tuple[Path, dict[str, Any]] | None:
    """Return the topology in force and what the testbed tells; None when it does not run."""
    from qnetem.runtime.errors import NotFoundError
    from qnetem.topology import TopologyError

    try:
        state = state_of(topology)
        last = state.launch()
    except (NotFoundError, TopologyError):
        return None  # never brought up
    if last is None or not last.is_running:
        return None
    from qnetem.cli.inspecting import told
    from qnetem.runtime.errors import DeadlineError, UnavailableError
    from qnetem.testbed.client import NotRunningError

    try:
        return state.layout.topology, run(told(topology))
    except NotRunningError:
        return None
    except (UnavailableError, DeadlineError):
        say("qnetem: the testbed does not answer: drawn without states")
        return None


def _print_text(lines: list[list[tuple[str, str]]]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            print("".join(text for text, _ in line))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
