"""qnetem.cli.files: `init validate render schema`. Wiring."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json
from qnetem.cli.testbeds import topology_path

if TYPE_CHECKING:
    from qnetem.topology import Topology

__all__ = ["init", "render", "schema", "validate"]


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("topology.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of the testbed; default: the folder's.")] = None,
) -> None:
    """Write a commented topology to start from. Nothing is overwritten."""
    from qnetem import topology
    from qnetem.runtime.errors import AlreadyExistsError, StorageError
    from qnetem.topology.templates import template

    folder = re.sub(r"[^a-z0-9]+", "-", file.resolve().parent.name.lower()).strip("-")[:63].rstrip("-")
    text = template(name if name is not None else folder or "testbed")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise AlreadyExistsError(f"{file}: is there already") from None
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror}") from error
    made = topology.load(file)
    print(f"wrote {file}: testbed {made.name}, {_size(made)}; bring it up with `qnetem up -t {file}`")


def _size(topology: "Topology") -> str:
    counts = ((len(topology.nodes), "node"), (len(topology.links), "link"), (len(topology.saes), "SAE"))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)


def validate(topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> None:
    """Check a topology file; every problem is told with its line and column."""
    from qnetem import topology as topologies

    path = topology or topology_path(None)
    checked = topologies.load(path)
    if form is Format.JSON:
        print_json(
            {
                "name": checked.name,
                "digest": checked.digest,
                "nodes": list(checked.nodes),
                "links": list(checked.links),
                "saes": dict(checked.saes),
            }
        )
    else:
        print(f"{path}: fine: testbed {checked.name}, {_size(checked)}")


def render(topology: TopologyOption = None) -> None:
    """Print the topology with every default filled in."""
    from qnetem import topology as topologies

    print(topologies.render(topologies.load(topology or topology_path(None))), end="")


def schema() -> None:
    """Print the JSON schema of topology files, for editors."""
    from qnetem.topology import json_schema

    print_json(json_schema())
