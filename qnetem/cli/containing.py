"""qnetem.cli.containing: `compose` and `kubernetes`: a testbed as files for container engines. Wiring."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compose", "kubernetes"]

_TopologyArgument = Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="The topology file.")]
_OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")]


class Target(StrEnum):
    """What is to run the containers."""

    COMPOSE = "compose"
    SWARM = "swarm"


def compose(
    topology: _TopologyArgument,
    output: _OutputOption,
    subnet: Annotated[
        str | None,
        typer.Option(
            metavar="CIDR", help="IPv4 network that all subnets are cut from; default: of the testbed's name."
        ),
    ] = None,
    target: Annotated[
        Target, typer.Option(help="A project for docker compose, or a stack for a swarm.")
    ] = Target.COMPOSE,
) -> None:
    """Write a project for docker compose, or a stack: each process a container. Replaces files that it made before."""
    from qnetem import topology as topologies
    from qnetem.runtime.errors import BadInputError
    from qnetem.testbed.containers.networks import default_pool
    from qnetem.testbed.containers.rendering import Deployment, compose_files

    loaded = topologies.load(topology)
    if target is Target.SWARM:
        from qnetem.testbed.containers.swarm import STACK, swarm_files

        if subnet is not None:
            raise BadInputError("--subnet: a swarm chooses its addresses itself")
        _write(output, swarm_files(loaded, Deployment("", topology.name, topology.read_text())))
        print(f"wrote {output}: docker stack deploy -c {output / STACK} {loaded.name}")
        return
    deployment = Deployment(
        subnet or default_pool(loaded.name),
        topology.name,
        topology.read_text(),
        _build_context(output.absolute()),
    )
    _write(output, compose_files(loaded, deployment))
    print(f"wrote {output}: docker compose -f {output / 'docker-compose.yml'} up --wait")


def kubernetes(
    topology: _TopologyArgument,
    output: _OutputOption,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="What processes run in; default: qnetem of this version.")
    ] = None,
) -> None:
    """Write manifests for Kubernetes: every process a StatefulSet. Files that it made before are replaced."""
    from qnetem import topology as topologies
    from qnetem.testbed.containers.kubernetes import kubernetes_files

    loaded = topologies.load(topology)
    _write(output, kubernetes_files(loaded, topology.name, topology.read_text(), image))
    print(f"wrote {output}: kubectl apply -f {output}")


def _write(output: Path, files: Mapping[str, str]) -> None:
    from qnetem.runtime.errors import StorageError

    try:
        for name, text in files.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except OSError as error:
        raise StorageError(f"{error.filename or output}: {error.strerror}") from error


def _build_context(output: Path) -> str | None:
    """Return the way from the output to the checkout that it lies in, if it does."""
    for folder in output.parents:
        if (folder / "compose" / "Dockerfile").is_file():
            return Path(os.path.relpath(folder, output)).as_posix()
    return None
