"""qnetem.testbed.supervisor.container_body: what a child is made of where it is a container. Edge: the Docker API."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import requests
from docker.errors import APIError

from qnetem.runtime.errors import NotFoundError, StartError, UnavailableError
from qnetem.runtime.log import get_logger
from qnetem.testbed.containers.engine import Project
from qnetem.testbed.planes import Plane
from qnetem.testbed.supervisor.body import last_line_of
from qnetem.testbed.supervisor.lifecycle import End

__all__ = ["ContainerBody"]

_log = get_logger("testbed.containers")
# a shell's way to say that a signal ended something
_SIGNALLED: Final = 128


class ContainerBody:
    """A container of the project; what is asked of it is done one after another, in a thread."""

    def __init__(self, service: str, project: Project, log_path: Path) -> None:
        """Be ready to start the container of a service; it writes to `log_path` by itself."""
        self._service = service
        self._project = project
        self._log_path = log_path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"docker-{service}")
        self._ended: asyncio.Future[End] | None = None
        self._container: Any = None
        self._is_paused = False
        self._off: frozenset[Plane] = frozenset()
        self.pid = 0
        project.on_end(service, self._has_ended)

    async def start(self) -> "asyncio.Future[End]":
        """Start the container; return what is resolved with how it ended.

        Raises:
            StartError: The engine does not start it; says why.
        """
        loop = asyncio.get_running_loop()
        self._ended = ended = loop.create_future()
        self._is_paused = False
        try:
            self.pid = await loop.run_in_executor(self._thread, self._start)
        except (APIError, requests.RequestException) as error:
            raise StartError(f"{self._service}: {_text(error)}") from None
        if ended.done():
            self.pid = 0
        return ended

    def _start(self) -> int:
        self._container = self._project.container(self._service)
        self._project.join(self._service, self._off)
        self._container.start()
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"]) or -1

    def _has_ended(self, exit_code: int) -> None:
        self.pid = 0
        if self._ended is None or self._ended.done():
            return
        if exit_code > _SIGNALLED:
            end = End(signal_number=exit_code - _SIGNALLED)
        else:
            end = End(exit_code=exit_code, last_line=last_line_of(self._log_path) if exit_code else "")
        self._ended.set_result(end)

    def _do(self, act: Callable[[], None]) -> "asyncio.Future[None]":
        """Have the thread do something to the container; one that is not there any more takes it as done."""

        def attempt() -> None:
            if self._container is None:
                return
            try:
                act()
            except (APIError, requests.RequestException) as error:
                # not running, or just gone: its end is told as an event
                _log.info("testbed.container.not_done", service=self._service, detail=_text(error))

        return asyncio.get_running_loop().run_in_executor(self._thread, attempt)

    def _unpause(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._container.unpause()

    def terminate(self) -> None:
        """Send SIGTERM; a paused one goes on for that."""

        def act() -> None:
            self._unpause()
            self._container.kill("SIGTERM")

        self._do(act)

    def kill(self) -> None:
        """Send SIGKILL; the engine refuses that to a paused one."""

        def act() -> None:
            self._unpause()
            self._container.kill("SIGKILL")

        self._do(act)

    async def pause(self) -> None:
        """Freeze everything in it."""

        def act() -> None:
            self._container.pause()
            self._is_paused = True

        await self._do(act)

    def resume(self) -> None:
        """Let it go on."""
        self._do(self._unpause)

    async def rewire(self, off: frozenset[Plane]) -> None:
        """Have it off the networks of these planes, and on its others; return when it is so.

        Raises:
            UnavailableError: The engine does not do it; says why.
        """

        def act() -> None:
            before, self._off = self._off, off
            try:
                self._project.join(self._service, off)
            except NotFoundError:
                return  # not made yet: it will start so
            except (APIError, requests.RequestException) as error:
                self._off = before
                raise UnavailableError(f"{self._service}: {_text(error)}") from None

        await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def close(self) -> None:
        """Kill it, if it is there; what is left goes with the project."""
        with contextlib.suppress(RuntimeError):  # a second time
            if self.pid:
                self.kill()
            self._thread.shutdown(wait=False)


def _text(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
