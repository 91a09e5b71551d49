"""qnetem.testbed.supervisor.body: what a child of the testbed is made of: a process of this machine. Edge."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Final, Protocol

from qnetem.testbed.supervisor.lifecycle import End
from qnetem.testbed.supervisor.spawner import Spawner
from qnetem.testbed.zygote.forking import ForkRequest

__all__ = ["Body", "ProcessBody", "last_line_of"]

_TAIL_BYTES: Final = 4096
_REFUSAL: Final = "qnetem: "
_COMPLAINTS: Final = ("Exception ignored in", "RuntimeError: Event loop is closed")
_STOP_POLL_S: Final = 0.001


class Body(Protocol):
    """What lives and dies, again and again.

    Attributes:
        pid: Its process on this machine; 0 when there is none.
    """

    pid: int

    async def start(self) -> "asyncio.Future[End]":
        """Start it; return what is resolved with how it ended.

        Raises:
            QnetemError: It cannot be started; says why.
        """

    def terminate(self) -> None:
        """Ask it to end, as SIGTERM does. Nothing happens to one that is not there."""

    def kill(self) -> None:
        """End it, as SIGKILL does."""

    async def pause(self) -> None:
        """Stop its clockwork, and that of what it has started; return when it stands still."""

    def resume(self) -> None:
        """Let it go on."""

    def close(self) -> None:
        """Kill it, if it is there, and let go of what it needed."""


class ProcessBody:
    """A child process, forked by the zygote or executed."""

    def __init__(self, request: ForkRequest, spawner: Spawner) -> None:
        """Be ready to start what `request` says, with `spawner`."""
        self._request = request
        self._spawner = spawner
        self._pidfd = -1
        self.pid = 0
        self._ended: asyncio.Future[End] | None = None

    async def start(self) -> "asyncio.Future[End]":
        """Start it; return what is resolved with how it ended."""
        await self._spawner.spawn(self._request, self._adopt)
        assert self._ended is not None  # noqa: S101 (set by _adopt)
        return self._ended

    def _adopt(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._ended = loop.create_future()
        loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        if os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None or self._ended is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what it started; the number is its own until it is reaped
        ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        assert ended is not None  # noqa: S101 (looked at above)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.pid = 0
        if ended.si_code == os.CLD_EXITED:
            last_line = last_line_of(Path(self._request["log_path"])) if ended.si_status else ""
            end = End(exit_code=ended.si_status, last_line=last_line)
        else:
            end = End(signal_number=ended.si_status)
        self._ended.set_result(end)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM, which a paused process would not take before SIGCONT."""
        self._signal(signal.SIGTERM)
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal(signal.SIGKILL)

    async def pause(self) -> None:
        """Send SIGSTOP to it and the rest of its group; return when it stands still."""
        self._signal_all(signal.SIGSTOP)
        while self._pidfd >= 0 and not _is_stopped(self._pidfd):  # noqa: ASYNC110 (nothing tells it)
            await asyncio.sleep(_STOP_POLL_S)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Kill it, if it is there."""
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return  # a zombie that is about to be reaped

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the process and the rest of its group: what it has started."""
        self._signal(number)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(self.pid, number)


def _is_stopped(pidfd: int) -> bool:
    """Return whether a child stands still: SIGSTOP takes effect when it next runs."""
    return os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG) is not None


def last_line_of(path: Path) -> str:
    """Return the last line of a log, "" when there is none: a process that ends says why there."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    # an interpreter that shuts down may complain after the reason was told
    told = max((index for index, line in enumerate(lines) if line.startswith(_REFUSAL)), default=len(lines))
    if any(line.startswith(_COMPLAINTS) for line in lines[told + 1 :]):
        lines = lines[: told + 1]
    return _plain(lines[-1])[:500] if lines else ""


def _plain(line: str) -> str:
    """Return a line of a log as a reader wants it: the error of a JSON line, the text of a refusal."""
    try:
        fields = json.loads(line)
        return f"{fields['error']}: {fields['detail']}"
    except (ValueError, TypeError, KeyError):
        return line.removeprefix(_REFUSAL)
