"""qnetem.runtime.storage_key_file: the file that a storage key lies in, and that of its successor. Edge: files.

A storage key is 32 random bytes, written as 64 hexadecimal digits into a file that its owner alone may read. What it
seals, and what a rotation does, stands in node.keys.storage_key.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Final

from qnetem.runtime.durable import sync_folder
from qnetem.runtime.errors import StorageError

__all__ = ["KEY_BYTES", "TEXT", "make_storage_key", "next_path"]

KEY_BYTES: Final = 32
TEXT: Final = re.compile(rb"[0-9a-fA-F]{64}\s*")


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
                file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
                file.flush()
                os.fsync(fd)
            os.link(draft, path)  # whole, or not there
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"storage key {path}: {error.strerror}") from error
    return True


def next_path(path: Path) -> Path:
    """Return where a storage key lies that is to replace the one at `path`."""
    return path.with_name(path.name + ".next")
