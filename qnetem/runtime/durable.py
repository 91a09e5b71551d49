"""qnetem.runtime.durable: names of files that are there after a crash. Edge: files."""

import os
from pathlib import Path

__all__ = ["sync_folder"]


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk: a new or a renamed file is not there for good before.

    Raises:
        OSError: It cannot be done.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
