"""qnetem.cli.collecting: `collect`. Wiring."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qnetem.cli.options import TopologyOption
from qnetem.cli.output import say
from qnetem.cli.testbeds import plan_of, state_of, topology_path

if TYPE_CHECKING:
    from qnetem.testbed.state import State

__all__ = ["collect"]


def collect(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The .tar.gz to write.", show_default=False)
    ] = None,
    topology: TopologyOption = None,
) -> None:
    """Write everything that a report of a fault needs, and no secret, to one archive; the testbed may be down."""
    from qnetem.cli.evidence import gathered
    from qnetem.testbed.archive import write_archive

    found = gathered(*_place(topology))
    at = datetime.now(UTC)
    path = output or Path(f"qnetem-{found.name}-{at:%Y%m%d-%H%M%S}.tar.gz")
    files = {**found.files, "about.json": found.about(at)}
    size_bytes = write_archive(path, f"qnetem-{found.name}", files)
    print(f"wrote {path}: {len(files)} files, {size_bytes / 1024:.0f} KiB")
    for what, why in found.missing.items():
        say(f"without {what}: {why}")
    for name, count in found.redacted.items():
        say(f"qnetem: took {count} secrets out of {name}, where none should be: please report that too")


def _place(topology: Path | None) -> "tuple[State | None, Path]":
    """Return the state of the testbed that is meant, None where there is none, and its topology file."""
    from qnetem import topology as topologies
    from qnetem.runtime.errors import QnetemError
    from qnetem.testbed.state import State

    try:
        state = state_of(topology)
        return state, Path(plan_of(state).topology_path)
    except QnetemError:  # `up` has never come so far, or what it wrote is damaged
        path = topology_path(topology)
    try:
        state = State.beside(path, topologies.load(path).name)
    except QnetemError:
        if not path.exists():
            raise
        return None, path
    return (state if state.layout.root.exists() else None), path
