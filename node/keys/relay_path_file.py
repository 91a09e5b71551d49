"""node.keys.relay_path_file: the paths that a node was told, on the wire and on its disk. Edge: files.

The file is one PathSet; it is replaced as a whole, so that a crash leaves the one before or the new one.
"""

import os
from pathlib import Path

from google.protobuf.message import DecodeError

from node.keys.relay_frame import checked_path
from node.keys.relay_paths import PathBook, PathTable, RelayPath
from qnetem.runtime.durable import sync_folder
from qnetem.runtime.errors import BadInputError, StorageError
from qnetem.v1 import controller_pb2 as pb

__all__ = ["InstalledPaths", "table_of", "wire_table"]

_MAX_PATHS = 8


def table_of(paths: pb.PathSet, own_node: str) -> PathTable:
    """Return paths from the wire.

    Raises:
        BadInputError: Version 0, a target twice, a path that is none or does not lead from here to its target.
    """
    if not paths.controller or paths.version == 0:
        raise BadInputError("a path set has the name of its controller and a version of 1 or more")
    targets: dict[str, tuple[RelayPath, ...]] = {}
    for one in paths.targets:
        if not one.target or one.target in targets or one.target == own_node or len(one.paths) > _MAX_PATHS:
            raise BadInputError(f"target {one.target!r}: missing, given twice, or with more than {_MAX_PATHS} paths")
        for path in one.paths:
            nodes = checked_path(path.nodes)
            if nodes[0] != own_node or nodes[-1] != one.target:
                raise BadInputError(f"path {'/'.join(nodes)}: does not lead from {own_node} to {one.target}")
            if path.available_bits < 0 or not 0 <= path.round_trip_s < 3600:
                raise BadInputError(f"path {'/'.join(nodes)}: bits below 0, or a round trip that is not 0 to 3600 s")
        targets[one.target] = tuple(
            RelayPath(tuple(path.nodes), path.available_bits, path.round_trip_s) for path in one.paths
        )
    return PathTable(paths.controller, paths.version, targets)


def wire_table(table: PathTable) -> pb.PathSet:
    """Return paths for the wire."""
    made = pb.PathSet(controller=table.controller, version=table.version)
    for target, paths in sorted(table.targets.items()):
        told = made.targets.add(target=target)
        for path in paths:
            told.paths.add(nodes=path.nodes, available_bits=path.available_bits, round_trip_s=path.round_trip_s)
    return made


class InstalledPaths:
    """The paths in force at a node, and their file."""

    def __init__(self, path: Path, book: PathBook, own_node: str) -> None:
        """Keep the paths of `book` in the file `path`; see `load`."""
        self._path = path
        self._own_node = own_node
        self.book = book

    def load(self) -> None:
        """Take up what was told in an earlier life.

        Raises:
            StorageError: The file cannot be read, or does not hold paths.
        """
        if not self._path.exists():
            return
        try:
            paths = pb.PathSet.FromString(self._path.read_bytes())
            self.book.install(table_of(paths, self._own_node))
        except (OSError, DecodeError, BadInputError) as error:
            raise StorageError(f"{self._path}: {getattr(error, 'strerror', None) or 'does not hold paths'}") from error

    def install(self, paths: pb.PathSet) -> bool:
        """Put paths in force, durably first; return whether they were newer than those that were.

        Raises:
            BadInputError: They are not paths from here.
            StorageError: They cannot be written; those before stay in force.
        """
        table = table_of(paths, self._own_node)
        if not self.book.is_newer(table):
            return False
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(paths.SerializeToString())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error
        self.book.install(table)
        return True
