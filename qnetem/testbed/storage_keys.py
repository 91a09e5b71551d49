"""qnetem.testbed.storage_keys: the files of the keys that keys at rest are sealed under. Edge: files."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StartError, StorageError
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import KINDS, ProcessPlan
from qnetem.topology.model import Topology

__all__ = ["begin_rotation", "finish_rotation", "make_storage_key", "prepare_storage_keys", "storage_key_path"]

_KEY_BYTES: Final = 32
_TEXT: Final = re.compile(rb"[0-9a-fA-F]{64}\s*")


def storage_key_path(topology: Topology, layout: Layout, node: str) -> Path:
    """Return the file that holds the storage key of a node: the operator's, or the testbed's own for that node."""
    if topology.storage_key_file is not None:
        return topology.path_of(topology.storage_key_file)
    return layout.storage_keys / f"{node}.key"


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
        if KINDS[process.kind] == "node" and not (layout.state(name) / "keys.sqlite").exists():
            make_storage_key(storage_key_path(topology, layout, name))


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode & 0o777, file.read(128)
    except OSError as error:
        raise StartError(f"keys.storage_key_file: {path}: {error.strerror}") from None
    if mode & 0o077:
        raise StartError(f"keys.storage_key_file: {path}: mode {mode:04o} lets others read it; 0600 is due")
    if _TEXT.fullmatch(text) is None:
        raise StartError(f"keys.storage_key_file: {path}: does not hold 64 hexadecimal digits")


def make_storage_key(path: Path) -> bool:
    """Write a new storage key, 0600, durably. What lies there already stays.

    Returns:
        Whether it is new.

    Raises:
        StorageError: It cannot be written; names it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
                file.flush()
                os.fsync(fd)
            os.link(draft, path)  # whole, or not there
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"storage key {path}: {error.strerror}") from error
    return True


def _next(path: Path) -> Path:
    return path.with_name(path.name + ".next")


def begin_rotation(path: Path) -> bool:
    """Lay a successor beside a storage key; one that an interrupted rotation left is used. Whether it is new."""
    return make_storage_key(_next(path))


def finish_rotation(path: Path) -> None:
    """Put the successor in the place of the storage key: every store is sealed under it.

    Raises:
        StorageError: It cannot be done; names the file.
    """
    try:
        _next(path).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"storage key {path}: {error.strerror}") from error


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
