"""qnetem.testbed.storage_keys: the files of the keys that keys at rest are sealed under. Edge: files."""

import os
from collections.abc import Mapping
from pathlib import Path

from qnetem.runtime.durable import sync_folder
from qnetem.runtime.errors import StartError, StorageError
from qnetem.runtime.storage_key_file import TEXT, make_storage_key, next_path
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import KINDS, ProcessPlan
from qnetem.topology.model import Topology

__all__ = ["begin_rotation", "finish_rotation", "prepare_storage_keys", "storage_key_path"]


def storage_key_path(topology: Topology, layout: Layout, node: str) -> Path:
    """Return the file that holds the storage key of a node: the operator's, or the testbed's own for that node."""
    if topology.storage_key_file is not None:
        return topology.path_of(topology.storage_key_file)
    return layout.storage_key(node)


def prepare_storage_keys(topology: Topology, layout: Layout, processes: Mapping[str, ProcessPlan]) -> None:
    """Make the storage keys that the testbed keeps and that are missing; look at the one that the operator keeps.

    The key of a node that has a store already is never made anew: without it nothing there can be opened.

    Raises:
        StartError: The operator's file cannot be read, is none, or others can read it; names it.
        StorageError: A file cannot be written.
    """
    if topology.storage_key_file is not None:
        _check(topology.path_of(topology.storage_key_file))
        return
    for name, process in processes.items():
        if KINDS[process.kind] != "node":
            continue
        path = layout.storage_key(name)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _adopt(layout.storage_keys / f"{name}.key", path)
        except OSError as error:
            raise StorageError(f"storage key {path}: {error.strerror}") from error
        if not (layout.state(name) / "keys.sqlite").exists():
            make_storage_key(path)


def _adopt(old: Path, path: Path) -> None:
    """Move a key, and its successor, from where they lay before each node had a folder."""
    for here, there in ((next_path(old), next_path(path)), (old, path)):
        if here.exists():
            here.replace(there)
            sync_folder(there.parent)


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode & 0o777, file.read(128)
    except OSError as error:
        raise StartError(f"keys.storage_key_file: {path}: {error.strerror}") from None
    if mode & 0o077:
        raise StartError(f"keys.storage_key_file: {path}: mode {mode:04o} lets others read it; 0600 is due")
    if TEXT.fullmatch(text) is None:
        raise StartError(f"keys.storage_key_file: {path}: does not hold 64 hexadecimal digits")


def begin_rotation(path: Path) -> bool:
    """Lay a successor beside a storage key; one that an interrupted rotation left is used. Whether it is new."""
    return make_storage_key(next_path(path))


def finish_rotation(path: Path) -> None:
    """Put the successor in the place of the storage key: every store is sealed under it.

    Raises:
        StorageError: It cannot be done; names the file.
    """
    try:
        next_path(path).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"storage key {path}: {error.strerror}") from error
