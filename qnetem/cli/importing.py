"""qnetem.cli.importing: `import`. Wiring."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.options import Format, FormatOption
from qnetem.cli.output import print_json, say

if TYPE_CHECKING:
    from qnetem.topology.importing import Imported, Network, Settings
    from qnetem.topology.units import Quantity

__all__ = ["import_network"]


def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A network, .gml or .graphml.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The topology to write.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="Name of the testbed; default: that of FILE.")] = None,
    profile: Annotated[str, typer.Option(help="Devices of all links.")] = "decoy-bb84-1ghz-apd",
    max_span: Annotated[
        str, typer.Option(metavar="LENGTH", help="Trusted relays cut links that are longer than this.")
    ] = "80km",
    default_length: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Of links whose length coordinates do not tell: too close (else 1km), or no coordinates.",
        ),
    ] = None,
    route_factor: Annotated[
        float, typer.Option(metavar="FACTOR", help="How much longer fibres are than the great circle.")
    ] = 1.3,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT where it is there.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a topology of a real network, and tell each thing that was decided."""
    from qnetem import topology
    from qnetem.runtime.errors import BadInputError
    from qnetem.topology.importing import Settings, converted, default_name, read
    from qnetem.topology.importing.settings import DEFAULT_LENGTH, MAX_SPAN, ROUTE_FACTOR

    try:
        settings = Settings(
            name=name if name is not None else default_name(file.name),
            profile=profile,
            max_span_m=int(_value("--max-span", MAX_SPAN, max_span)),
            default_length_m=None
            if default_length is None
            else int(_value("--default-length", DEFAULT_LENGTH, default_length)),
            route_factor=_value("--route-factor", ROUTE_FACTOR, route_factor),
        )
    except ValueError as error:
        raise BadInputError(str(error)) from None
    _check_free(file, output, is_forced=force)
    network = read(file)
    made = converted(network, settings, output.name)
    topology.parse(made.text, str(output))
    _write(output, made.text)
    if form is Format.JSON:
        print_json(_report(network, made, settings, file, output))
        return
    for decision in made.decisions:
        say(decision.text)
    listed = ", ".join(f"{count} {kind}" for kind, count in made.decided().items())
    say(
        f"{file}: nodes {made.node_count} of {len(network.sites)}, links {made.link_count} of {len(network.edges)}, "
        f"relays {made.relay_count}, spans {made.span_count} (decided: {listed})"
    )
    node_count = made.node_count + made.relay_count
    print(
        f"wrote {output}: testbed {settings.name}, {node_count} nodes, {made.span_count} links, {len(made.saes)} SAEs; "
        f"bring it up with `qnetem up -t {output}`"
    )


def _value(option: str, quantity: "Quantity", given: object) -> float:
    from qnetem.runtime.errors import BadInputError

    try:
        return quantity.parse(given)
    except ValueError as error:
        raise BadInputError(f"{option}: {error}") from None


def _check_free(file: Path, output: Path, *, is_forced: bool) -> None:
    """Refuse to write where something is. Raises AlreadyExistsError, BadInputError, StorageError."""
    from qnetem.runtime.errors import AlreadyExistsError, BadInputError, StorageError

    try:
        if not output.exists():
            return
        if not is_forced:
            raise AlreadyExistsError(f"{output}: is there already (--force replaces it)")
        if not output.is_file():
            raise BadInputError(f"{output}: is not a regular file")
        if file.exists() and output.samefile(file):
            raise BadInputError(f"{output}: is the network itself")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StorageError(f"{output}: {getattr(error, 'strerror', None) or error}") from None


def _write(output: Path, text: str) -> None:
    """Write a file whole or not at all. Raises StorageError."""
    from qnetem.runtime.errors import StorageError

    target = Path(os.path.realpath(output))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{output}: {error.strerror}") from None


def _report(network: "Network", made: "Imported", settings: "Settings", file: Path, output: Path) -> dict[str, Any]:
    return {
        "file": str(file),
        "output": str(output),
        "name": settings.name,
        "drawn": {"nodes": len(network.sites), "links": len(network.edges)},
        "made": {
            "nodes": made.node_count,
            "links": made.link_count,
            "relays": made.relay_count,
            "spans": made.span_count,
            "fibre_m": made.fibre_m,
        },
        "saes": dict(made.saes),
        "decided": made.decided(),
        "decisions": [
            {"kind": decision.kind, "subject": decision.subject, "text": decision.text} for decision in made.decisions
        ],
    }
