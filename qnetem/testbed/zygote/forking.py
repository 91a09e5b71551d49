"""qnetem.testbed.zygote.forking: a process by fork, handed to the supervisor as its child. Edge.

A middle process forks the children and ends, so that the kernel hands them to the nearest subreaper, the supervisor.
The children wait at a gate, which opens when the middle one has been reaped: only then is their parent the supervisor,
and only then may they ask to die with it.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypedDict

from qnetem.testbed import linux

__all__ = ["ORPHANED", "PACKET_BYTES", "ForkReport", "ForkRequest", "fork_all"]

# the longest packet between a zygote and its supervisor
PACKET_BYTES: Final = 128 * 1024
# exit code of a child whose supervisor had ended before it could ask to die with it
ORPHANED: Final = 70


class ForkRequest(TypedDict):
    """One process to start. `command` replaces the room: it is executed with `--config` FILE, in `folder` unless ''."""

    name: str
    room: str
    command: list[str] | None
    folder: str
    config_path: str
    log_path: str
    environment: dict[str, str]
    title: str


class ForkReport(TypedDict):
    """The pids of the children, in order; fewer than asked for when `error` is not empty."""

    pids: list[int]
    error: str


def fork_all(requests: Sequence[ForkRequest], supervisor_pid: int, abandon: Callable[[], object]) -> ForkReport:
    """Fork one child per request. `abandon` is called in each, to let go of what children must not hold."""
    gate_read, gate_write = os.pipe()
    report_read, report_write = os.pipe()
    middle = os.fork()
    if middle == 0:
        _run_middle(requests, supervisor_pid, gate_read, gate_write, report_write, abandon)
    os.close(gate_read)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as report:
        text = report.read()
    os.waitpid(middle, 0)
    os.close(gate_write)  # opens the gate
    report_of_middle: ForkReport = json.loads(text) if text else {"pids": [], "error": "the middle process died"}
    return report_of_middle


def _run_middle(
    requests: Sequence[ForkRequest],
    supervisor_pid: int,
    gate_read: int,
    gate_write: int,
    report_write: int,
    abandon: Callable[[], object],
) -> NoReturn:
    try:
        os.close(gate_write)
        pids: list[int] = []
        why = ""
        for request in requests:
            try:
                pid = os.fork()
            except OSError as error:  # no more processes or memory: those that are there go on
                why = f"cannot fork: {error.strerror}"
                break
            if pid == 0:
                os.close(report_write)
                abandon()
                _be(request, supervisor_pid, gate_read)
            pids.append(pid)
        os.write(report_write, json.dumps(ForkReport(pids=pids, error=why)).encode())
    finally:
        os._exit(0)


def _be(request: ForkRequest, supervisor_pid: int, gate_read: int) -> NoReturn:
    code = 1
    try:
        os.read(gate_read, 1)  # end of file: the gate is open
        if not linux.die_with(supervisor_pid):
            os._exit(ORPHANED)
        os.setsid()
        _redirect(request["log_path"])
        os.environ.update(request["environment"])
        if request["command"] is not None:
            command = [*request["command"], "--config", request["config_path"]]
            try:
                if request["folder"]:
                    os.chdir(request["folder"])
                os.execvp(command[0], command)  # noqa: S606 (the operator's own command)
            except OSError as error:
                print(f"qnetem: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
                os._exit(127)
        linux.set_title(request["name"], request["title"])
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()  # else all forks share its state; `random` sees to itself
        from qnetem.runtime import process

        code = process.main(importlib.import_module(request["room"]).serve, ["--config", request["config_path"]])
    except BaseException:
        # not the interpreter's own report: it would print values, and those could be secrets
        from qnetem.runtime.log import get_logger

        get_logger("testbed.zygote").exception("process.crashed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log_path: str) -> None:
    """Read nothing, write to the log, hold no other file of the zygote."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
