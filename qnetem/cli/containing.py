"""qnetem.cli.containing: `compose`: a testbed as files for container engines. Wiring."""

import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compose"]


def compose(
    topology: Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="The topology file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")],
    subnet: Annotated[
        str | None,
        typer.Option(
            metavar="CIDR", help="IPv4 network that all subnets are cut from; default: of the testbed's name."
        ),
    ] = None,
) -> None:
    """Write a project for docker compose: every process a container. Files that it made before are replaced."""
    from qnetem import topology as topologies
    from qnetem.runtime.errors import StorageError
    from qnetem.testbed.containers.networks import default_pool
    from qnetem.testbed.containers.rendering import Deployment, compose_files

    loaded = topologies.load(topology)
    deployment = Deployment(
        subnet or default_pool(loaded.name),
        topology.name,
        topology.read_text(),
        _build_context(output.absolute()),
    )
    made = compose_files(loaded, deployment)
    try:
        for name, text in made.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except OSError as error:
        raise StorageError(f"{error.filename or output}: {error.strerror}") from error
    print(f"wrote {output}: docker compose -f {output / 'docker-compose.yml'} up --wait")


def _build_context(output: Path) -> str | None:
    """Return the way from the output to the checkout that it lies in, if it does."""
    for folder in output.parents:
        if (folder / "compose" / "Dockerfile").is_file():
            return Path(os.path.relpath(folder, output)).as_posix()
    return None
