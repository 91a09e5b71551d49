"""qnetem.testbed.containers.publishing: makes what is secret, and a Secret for each pod. Wiring.

`python -m qnetem.testbed.containers.publishing --mark MARK`, in a Job. What is secret of the whole testbed is kept in a
Secret of its own, written before any pod gets a part of it: a Job that dies goes on where it was.
"""

import argparse
import io
import os
import sys
import tarfile
from pathlib import Path

from qnetem import topology as topologies
from qnetem.runtime.errors import BadInputError, NotFoundError, QnetemError, StorageError
from qnetem.testbed.containers.filling import Places, fill
from qnetem.testbed.containers.pods import ARCHIVE, AUTHORITY
from qnetem.testbed.containers.secret_store import SecretStore, Stored
from qnetem.testbed.containers.services import HOME, OPERATOR
from qnetem.testbed.layout import FOLDER
from qnetem.testbed.plan import planned
from qnetem.topology.model import Topology

__all__ = ["publish"]


def publish(topology: Topology, store: SecretStore, home: Path, volumes: Path, mark: str) -> int:
    """Make what is missing; return how many pods have got their Secret by it.

    Args:
        topology: What is to run.
        store: Where Secrets go.
        home: An empty folder to work in.
        volumes: Another.
        mark: The end of the names of Secrets for pods.

    Raises:
        BadInputError: The topology cannot be carried into containers.
        StorageError: A Secret cannot be read or written.
    """
    (home / FOLDER).mkdir(mode=0o700, exist_ok=True)
    before: Stored | None = None
    try:
        before = store.read(AUTHORITY)
    except NotFoundError:
        pass
    else:
        with tarfile.open(fileobj=io.BytesIO(before.data), mode="r:gz") as archive:
            archive.extractall(home / FOLDER, filter="fully_trusted")  # noqa: S202 (it is our own)
    services = [*planned(topology)[0], OPERATOR]
    for name in services:
        (volumes / name).mkdir(mode=0o700, exist_ok=True)
    fill(topology, Places(home, volumes, os.getuid(), None, {}))
    made = _packed(home / FOLDER)
    if before is not None:
        store.replace(AUTHORITY, made, before.version)
    elif not store.create(AUTHORITY, made, is_final=False):
        raise StorageError(f"Secret {AUTHORITY}: somebody else has made it meanwhile")
    return sum(store.create(f"{name}-{mark}", _packed(volumes / name), is_final=True) for name in services)


def _packed(folder: Path) -> bytes:
    """Return what lies in a folder as an archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return data.getvalue()


def main() -> int:
    """Publish what /qnetem/topology.yaml asks for; return the exit code: 3 for what cannot be, 4 for what failed."""
    parser = argparse.ArgumentParser(description="Makes what is secret, and a Secret for each pod.")
    parser.add_argument("--mark", required=True, help="end of the names of Secrets for pods")
    given = parser.parse_args()
    try:
        topology = topologies.load(Path(HOME) / "topology.yaml")
        count = publish(topology, SecretStore.of_this_pod(ARCHIVE), Path(HOME), Path("/volumes"), given.mark)
    except BadInputError as error:
        print(f"qnetem: {error}", file=sys.stderr)
        return 3
    except QnetemError as error:
        print(f"qnetem: {error}", file=sys.stderr)
        return 4
    print(f"qnetem: {count} pods of {topology.name} have got what is their own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
