"""qnetem.testbed.archive: the ends of long files, and a private archive of many. Edge."""

import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from qnetem.runtime.errors import AlreadyExistsError, StorageError

__all__ = ["end_of", "write_archive"]


def end_of(path: Path, limit_bytes: int) -> tuple[bytes, int]:
    """Return the last whole lines of a file that fit, and how many bytes before them were left out.

    Where something was left out a line in JSON says so, as a log or a journal has them.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= limit_bytes:
            return file.read(limit_bytes), 0
        file.seek(size - limit_bytes)
        data = file.read(limit_bytes)
    _, _, rest = data.partition(b"\n")
    cut_bytes = size - len(rest)
    return json.dumps({"event": "collect.cut", "cut_bytes": cut_bytes}).encode() + b"\n" + rest, cut_bytes


def write_archive(path: Path, folder: str, members: Mapping[str, bytes]) -> int:
    """Write `members` below `folder` to a new .tar.gz that only its owner reads; return its size in bytes.

    Raises:
        AlreadyExistsError: It is there already.
        StorageError: It cannot be written; nothing is left of it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExistsError(f"{path}: is there already") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, data in sorted(members.items()):
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
                archive.addfile(member, io.BytesIO(data))
        return path.stat().st_size
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(f"{path}: {error.strerror}") from error
        raise
