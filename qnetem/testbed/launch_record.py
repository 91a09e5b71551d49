"""qnetem.testbed.launch_record: one run of a testbed, known by its supervisor and by the mark of its processes. Edge.

Imports almost nothing: `up` asks here before anything else whether there is something to start.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from qnetem.testbed import linux

__all__ = ["FOLDER", "Launch", "is_running"]

# holds the states of testbeds, beside the topology file
FOLDER: Final = ".qnetem"

# the environment of every process of a launch says so
_MARK: Final = "QNETEM_LAUNCH"


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a testbed: its supervisor, and the mark that all its processes carry."""

    id: str
    supervisor_pid: int
    supervisor_ticks: int
    socket: str
    topology_path: str

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the launch that a file tells. Raises ValueError or TypeError when it tells something else."""
        return cls(**json.loads(data))

    @property
    def mark(self) -> str:
        """The entry in the environment of every process of this launch."""
        return f"{_MARK}={self.id}"

    @property
    def is_running(self) -> bool:
        """Whether its supervisor runs."""
        return linux.is_alive(self.supervisor_pid, self.supervisor_ticks)

    def end(self) -> list[int]:
        """Kill the supervisor, with which all others die, and what should still be there; return their pids."""
        killed = [self.supervisor_pid] if linux.kill_exactly(self.supervisor_pid, self.supervisor_ticks) else []
        return killed + self.sweep()

    def sweep(self) -> list[int]:
        """Kill every process that carries the mark, as the supervisor does not; return their pids."""
        return [pid for pid, ticks in linux.pids_of_environment(self.mark) if linux.kill_exactly(pid, ticks)]


def is_running(topology_path: Path) -> bool:
    """Return whether a testbed runs that was brought up from this file (an absolute path)."""
    for path in (topology_path.parent / FOLDER).glob("*/launch.json"):
        try:
            launch = Launch.from_bytes(path.read_bytes())
        except (OSError, ValueError, TypeError):  # damaged: for `up` to say
            continue
        if launch.topology_path == str(topology_path) and launch.is_running:
            return True
    return False
