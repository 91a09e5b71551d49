"""qnetem.testbed.containers: fills the volumes of a testbed's containers. Wiring."""

import argparse
import os
import sys
from pathlib import Path

from qnetem import topology as topologies
from qnetem.runtime.errors import BadInputError, QnetemError
from qnetem.testbed.containers.filling import Places, fill
from qnetem.testbed.containers.services import HOME


def _https_ports(text: str) -> dict[str, int]:
    try:
        return {name: int(port) for name, _, port in (one.partition("=") for one in text.split(",") if one)}
    except ValueError:
        raise BadInputError(f"QNETEM_HTTPS_PORTS: {text!r} is not NODE=PORT,...") from None


def main() -> int:
    """Fill /volumes by /qnetem/topology.yaml; return the exit code: 3 for a topology that cannot be, 4 for a disk."""
    parser = argparse.ArgumentParser(description="Fills the volumes of a testbed's containers.")
    parser.add_argument("--owner", type=int, required=True, help="user id of the processes")
    parser.add_argument("--volumes", type=Path, default=Path("/volumes"))
    given = parser.parse_args()
    try:
        topology = topologies.load(Path(HOME) / "topology.yaml")
        ports = _https_ports(os.environ["QNETEM_HTTPS_PORTS"])
        fill(topology, Places(Path(HOME), given.volumes, given.owner, os.environ.get("QNETEM_POOL"), ports))
    except BadInputError as error:
        print(f"qnetem: {error}", file=sys.stderr)
        return 3
    except QnetemError as error:
        print(f"qnetem: {error}", file=sys.stderr)
        return 4
    print(f"qnetem: every container of {topology.name} has what is its own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
