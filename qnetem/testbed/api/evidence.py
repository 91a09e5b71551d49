"""qnetem.testbed.api.evidence: ends of logs and journals, and copies without secrets, for who asks why. Edge."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StorageError
from qnetem.testbed.layout import Layout
from qnetem.testbed.lines import Line, event_text, log_text, merged
from qnetem.testbed.tail import Tail

__all__ = ["copied", "event_lines", "log_lines"]

_TAIL_COUNT: Final = 200


def log_lines(layout: Layout, count: int, process: str | None = None) -> list[str]:
    """Return the last lines of the logs, of one process or of all in the order of time."""
    return _lines(layout.logs, ".log", count, process, log_text)


def event_lines(layout: Layout, count: int, process: str | None = None) -> list[str]:
    """Return the last lines of the journals, of one process or of all in the order of time."""
    return _lines(layout.journals, ".jsonl", count, process, event_text)


def _lines(folder: Path, suffix: str, count: int, process: str | None, text_of: Callable[[Line], str]) -> list[str]:
    paths = sorted(folder.glob(f"*{suffix}")) if process is None else [folder / f"{process}{suffix}"]
    tails = [Tail(path, path.name.removesuffix(suffix)).last(max(count, _TAIL_COUNT)) for path in paths]
    lines = list(merged(tails))
    return [text_of(line) for line in lines[len(lines) - min(count, len(lines)) :]]


def copied(layout: Layout, target: Path) -> list[Path]:
    """Copy what helps to find out what happened: logs, journals, the topology and the plan; nothing that is secret.

    Certificates, keys, configurations (which hold device secrets) and the states of processes stay where they are.

    Raises:
        StorageError: It cannot be written.
    """
    files = [path for path in (layout.topology, layout.plan, layout.ports, layout.desired) if path.is_file()]
    files += sorted([*layout.logs.glob("*.log"), *layout.journals.glob("*.jsonl")])
    copies = [target / path.relative_to(layout.root) for path in files]
    try:
        for path, copy in zip(files, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    except OSError as error:
        raise StorageError(f"{error.filename or target}: {error.strerror}") from error
    return copies
