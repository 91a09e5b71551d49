"""qnetem.testbed.supervisor.usage: what processes use of the machine, read from /proc when somebody asks. Edge."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from qnetem.v1 import supervisor_pb2

__all__ = ["read_usages"]

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# fields of /proc/<pid>/stat after the command, by their numbers in proc_pid_stat(5); stime follows utime
_PPID: Final = 4 - 3
_PGRP: Final = 5 - 3
_UTIME: Final = 14 - 3
_THREADS: Final = 20 - 3
_PSS: Final = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


def read_usages(pids: Mapping[str, int]) -> list[supervisor_pb2.ProcessUsage]:
    """Return what each process and what it has started use, by name. Takes about three milliseconds for each.

    Every process of a testbed leads a group of its own, in which is what it has started; of a container the first is
    known, and all others descend from it. One that has ended meanwhile is left out.
    """
    names = {pid: name for name, pid in pids.items()}
    found: dict[str, supervisor_pb2.ProcessUsage] = {}
    processes = list(_processes())
    parents = {pid: parent for pid, parent, *_ in processes}
    for pid, _, group, cpu_s, threads in processes:
        name = names.get(pid) or names.get(group) or _name_above(pid, names, parents)
        if name is None:
            continue
        usage = found.setdefault(name, supervisor_pb2.ProcessUsage(name=name, pid=pids[name]))
        usage.cpu_s += cpu_s
        usage.memory_bytes += _pss_bytes(pid)
        usage.thread_count += threads
        usage.at_s = time.monotonic()
    return [found[name] for name in pids if name in found]


def _name_above(pid: int, names: Mapping[int, str], parents: Mapping[int, int]) -> str | None:
    """Return the name of the nearest ancestor that has one."""
    while pid := parents.get(pid, 0):
        if pid in names:
            return names[pid]
    return None


def _processes() -> Iterator[tuple[int, int, int, float, int]]:
    """Yield pid, parent, process group, CPU seconds and number of threads of every process of the machine."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # the command stands in parentheses and may hold anything
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        cpu_s = (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICKS_PER_S
        yield int(folder.name), int(fields[_PPID]), int(fields[_PGRP]), cpu_s, int(fields[_THREADS])


def _pss_bytes(pid: int) -> int:
    try:
        match = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    except OSError:  # ended meanwhile, another user's, or a kernel that does not tell
        return 0
    return int(match.group(1)) * 1024 if match else 0
