"""qnetem.runtime.journal: the append-only record of what happened in one process, JSON lines. Edge."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from qnetem.runtime.clock import Clock
from qnetem.runtime.log import Field

__all__ = ["Journal"]


class Journal:
    """Appends whole lines; a full disk costs lines, which are counted, never the process."""

    def __init__(self, path: Path | None, process: str, clock: Clock | None = None) -> None:
        """Append to `path` (created 0600; None: keep no record); `clock` adds the emulated time to each line."""
        self._process = process
        self._clock = clock
        self.dropped_count = 0
        self._fd = -1 if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, event: str, **fields: Field) -> None:
        """Append an event; one write of one line, so that lines of a killed process are whole."""
        if self._fd < 0:
            return
        line: dict[str, Field] = {"wall": datetime.now(UTC).isoformat(timespec="milliseconds")}
        if self._clock is not None:
            line["emulated_ps"] = self._clock.now_ps()
        line |= {"process": self._process, "event": event, **fields}
        data = (json.dumps(line) + "\n").encode()
        try:
            if os.write(self._fd, data) != len(data):
                self.dropped_count += 1
        except OSError:
            self.dropped_count += 1

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
