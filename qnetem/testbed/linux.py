"""qnetem.testbed.linux: what Linux knows of processes and Python does not offer. Edge."""

import ctypes
import os
import signal
from collections.abc import Container
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StartError

__all__ = [
    "become_subreaper",
    "boot_id",
    "children",
    "die_with",
    "is_alive",
    "kill_exactly",
    "pids_of_environment",
    "reap_strangers",
    "set_title",
    "start_ticks",
    "thread_count",
]

# <linux/prctl.h>
_SET_PDEATHSIG: Final = 1
_SET_NAME: Final = 15
_SET_CHILD_SUBREAPER: Final = 36
# fields of /proc/<pid>/stat after the command, by their numbers in proc_pid_stat(5); arg_end follows arg_start
_PPID: Final = 4 - 3
_STARTTIME: Final = 22 - 3
_ARG_START: Final = 48 - 3


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise StartError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def become_subreaper() -> None:
    """Make this process the parent of every descendant whose own parent ends."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with(parent_pid: int) -> bool:
    """Have the kernel kill this process with SIGKILL when its parent ends; return whether that parent is `parent_pid`.

    The question comes after the request: a parent that ended in between would never send the signal.
    """
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent_pid


def _stat_fields(pid: int | str) -> list[str] | None:
    try:
        # the command stands in parentheses and may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def start_ticks(pid: int) -> int | None:
    """Return when a process started, clock ticks since boot; None when it is gone. Pid and ticks name one process."""
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[_STARTTIME])


def is_alive(pid: int, ticks: int) -> bool:
    """Return whether the process that started at `ticks` under `pid` still runs (a zombie does not)."""
    fields = _stat_fields(pid)
    return fields is not None and int(fields[_STARTTIME]) == ticks and fields[0] not in "ZX"


def kill_exactly(pid: int, ticks: int) -> bool:
    """Kill the process that started at `ticks`, never another that got its pid; return whether it was there."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(pid, ticks):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def set_title(name: str, title: str) -> None:
    """Show this process as `name` in process lists, and as `title`, cut to what fits, for its command line."""
    _prctl(_SET_NAME, name.encode()[:15])
    fields = _stat_fields("self")
    if fields is None:
        return
    start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    if 0 < start < end:
        # the memory of argv: its last byte has to stay 0, else Linux reads on into the environment
        ctypes.memmove(start, title.encode()[: end - start - 1].ljust(end - start, b"\0"), end - start)


def thread_count() -> int:
    """Return the number of threads of this process."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def boot_id() -> str:
    """Return what names the time since the machine was started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pids_of_environment(entry: str) -> list[tuple[int, int]]:
    """Return (pid, start ticks) of every process of this user whose first environment holds `entry` ("NAME=value")."""
    wanted = entry.encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        pid = int(folder.name)
        try:
            ticks = start_ticks(pid)
            holds = wanted in (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if holds and ticks is not None and is_alive(pid, ticks):
            found.append((pid, ticks))
    return found


def children() -> list[int]:
    """Return the pids of this process's children, zombies included."""
    parent = str(os.getpid())
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            fields = _stat_fields(folder.name)
            if fields is not None and fields[_PPID] == parent:
                found.append(int(folder.name))
    return found


def reap_strangers(known_pids: Container[int]) -> None:
    """Reap children that have ended and are not in `known_pids`: a subreaper inherits what its descendants leave."""
    while True:
        try:
            # looked at, not taken: a known one is its owner's to reap
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in known_pids:
            return
        os.waitpid(ended.si_pid, 0)
