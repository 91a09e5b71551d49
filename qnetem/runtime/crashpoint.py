"""qnetem.runtime.crashpoint: named places where a test stops a process dead. Edge.

A process is armed by a file `crash-at` in its state folder, holding `name` or `name:nth`. Reaching the point the nth
time deletes the file, so that the restarted process goes on, and kills the process with SIGKILL.
"""

import os
import signal
from pathlib import Path

from qnetem.runtime.errors import BadInputError

__all__ = ["arm", "declare", "names", "reach"]

_declared: dict[str, str] = {}
_armed: dict[str, tuple[int, Path]] = {}


def declare(name: str, meaning: str) -> str:
    """Declare a crash point and say what has and has not happened there; return its name."""
    _declared[name] = meaning
    return name


def names() -> dict[str, str]:
    """Return the declared crash points and their meanings, of the rooms imported so far."""
    return dict(sorted(_declared.items()))


def arm(state_dir: Path) -> None:
    """Arm the point named by `state_dir`/crash-at, if there is such a file.

    Raises:
        BadInputError: The file names a point that no imported room declares, or a count that is not 1 or more.
    """
    _armed.clear()
    path = state_dir / "crash-at"
    if not path.exists():
        return
    name, _, nth = path.read_text().strip().partition(":")
    if name not in _declared:
        raise BadInputError(f"{path}: no crash point is called {name!r}")
    if nth and (not nth.isdecimal() or int(nth) < 1):
        raise BadInputError(f"{path}: {nth!r} is not a count of 1 or more")
    _armed[name] = (int(nth or 1), path)


def reach(name: str) -> None:
    """Die here when armed for `name`; else return at once."""
    if name not in _armed:
        return
    left, path = _armed[name]
    if left > 1:
        _armed[name] = (left - 1, path)
        return
    path.unlink(missing_ok=True)
    os.kill(os.getpid(), signal.SIGKILL)
