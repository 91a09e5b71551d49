"""qnetem.testbed.supervisor.spawner: has the zygote fork processes, and replaces a dead zygote. Edge."""

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from qnetem.runtime.errors import StartError
from qnetem.runtime.log import get_logger
from qnetem.testbed import linux
from qnetem.testbed.supervisor.zygote_process import ZygoteProcess
from qnetem.testbed.zygote.forking import PACKET_BYTES, ForkRequest

__all__ = ["Spawner", "ZygoteError"]

_log = get_logger("testbed.spawner")
# children wait until the whole of their batch is forked: small batches keep the second core busy
_BATCH: Final = 8
_ANSWER_TIMEOUT_S: Final = 10.0
_BACKOFF_S: Final = (0.0, 0.1, 0.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Asked:
    request: ForkRequest
    adopt: Callable[[int], None]
    # resolved when it is adopted
    answer: "asyncio.Future[None]"


class ZygoteError(StartError):
    """The zygote cannot import what it has to."""

    reason: ClassVar[str] = "ZYGOTE"


class _ZygoteDiedError(Exception):
    """The zygote ended, or does not answer."""


class Spawner:
    """Has processes forked in the order asked for. A zygote that dies is replaced; what it had started lives on."""

    def __init__(self, zygote: ZygoteProcess) -> None:
        """Fork with `zygote`, which may still be importing; in the running loop."""
        self._zygote = zygote
        self._loop = asyncio.get_running_loop()
        self._asked: deque[_Asked] = deque()
        self._forking: list[_Asked] = []
        # packets of the zygote; {}: something was asked for; None: the zygote ended
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._was_ready = False
        self._is_refusing = False
        self._listen()

    @property
    def pid(self) -> int:
        """The zygote's pid."""
        return self._zygote.pid

    @property
    def is_forking(self) -> bool:
        """Whether there may be children whose pids are not known yet."""
        return bool(self._forking)

    async def spawn(self, request: ForkRequest, adopt: Callable[[int], None]) -> None:
        """Have a process started. It is a child of this process, and dies with it.

        Args:
            request: What to start.
            adopt: Called with its pid, which is one of the known from then on.

        Raises:
            StartError: It could not be forked.
        """
        if self._is_refusing:
            raise StartError(f"{request['name']}: the testbed goes down")
        answer: asyncio.Future[None] = self._loop.create_future()
        self._asked.append(_Asked(request, adopt, answer))
        self._inbox.put_nowait({})
        await answer

    def refuse(self) -> None:
        """Start nothing any more: what is asked for and not yet being forked fails."""
        self._is_refusing = True
        while self._asked:
            asked = self._asked.popleft()
            if not asked.answer.done():
                asked.answer.set_exception(StartError(f"{asked.request['name']}: the testbed goes down"))

    async def run(self, known_pids: Callable[[], Iterable[int]], replaced: Callable[[], None]) -> None:
        """Serve `spawn` until cancelled; the zygote ends then.

        Args:
            known_pids: Processes that live on when a zygote dies. What it forked without reporting it is killed.
            replaced: Called when a new zygote is ready.

        Raises:
            ZygoteError: The first zygote could not import its rooms.
        """
        deaths = 0
        try:
            while True:
                try:
                    await self._until_ready()
                    if deaths:
                        replaced()
                        deaths = 0
                    await self._serve()
                except _ZygoteDiedError:
                    _log.warning("testbed.zygote.died", pid=self.pid)
                except ZygoteError as error:
                    if not self._was_ready:
                        raise
                    _log.error("testbed.zygote.broken", detail=str(error))
                self._end_zygote()
                _kill_children_except({*known_pids()})
                self._asked.extendleft(reversed(self._forking))
                self._forking = []
                await asyncio.sleep(_BACKOFF_S[min(deaths, len(_BACKOFF_S) - 1)])
                deaths += 1
                self._zygote = self._zygote.another()
                self._listen()
        finally:
            self._end_zygote()

    async def _until_ready(self) -> None:
        while not (message := await self._inbox.get()):  # {}: asked for something already
            if message is None:
                if not self._was_ready:
                    raise ZygoteError(f"the zygote ended while it imported {', '.join(self._zygote.rooms)}")
                raise _ZygoteDiedError
        if "error" in message and "id" not in message:
            raise ZygoteError(message["error"])
        self._was_ready = True

    async def _serve(self) -> None:
        number = 0
        while True:
            if self._asked and not self._forking:
                number += 1
                self._send_batch(number)
            try:
                async with asyncio.timeout(_ANSWER_TIMEOUT_S if self._forking else None):
                    message = await self._inbox.get()
            except TimeoutError:  # somebody stopped it
                raise _ZygoteDiedError from None
            if message is None:
                raise _ZygoteDiedError
            if message.get("id") == number:
                self._settle(message["pids"], message["error"])

    def _send_batch(self, number: int) -> None:
        self._forking = [self._asked.popleft() for _ in range(min(_BATCH, len(self._asked)))]
        packet = json.dumps({"id": number, "requests": [asked.request for asked in self._forking]}).encode()
        try:
            self._zygote.socket.send(packet)
        except OSError:
            raise _ZygoteDiedError from None

    def _settle(self, pids: Sequence[int], why: str) -> None:
        forking, self._forking = self._forking, []
        for index, asked in enumerate(forking):
            is_awaited = not asked.answer.done()
            if index < len(pids) and is_awaited:
                asked.adopt(pids[index])
                asked.answer.set_result(None)
            elif index < len(pids):
                os.kill(pids[index], signal.SIGKILL)
            elif is_awaited:
                asked.answer.set_exception(StartError(f"{asked.request['name']}: {why}"))

    def _listen(self) -> None:
        self._loop.add_reader(self._zygote.socket, self._read)

    def _read(self) -> None:
        try:
            packet = self._zygote.socket.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._loop.remove_reader(self._zygote.socket)
        self._inbox.put_nowait(json.loads(packet) if packet else None)

    def close(self) -> None:
        """End the zygote. Idempotent."""
        self._end_zygote()

    def _end_zygote(self) -> None:
        if self._zygote.socket.fileno() >= 0:
            self._loop.remove_reader(self._zygote.socket)
        self._zygote.end()
        while not self._inbox.empty():
            self._inbox.get_nowait()


def _kill_children_except(known_pids: set[int]) -> None:
    """Kill and reap the other children, until there are none: a dying middle process may have been forking still."""
    while unknown := [pid for pid in linux.children() if pid not in known_pids]:
        for pid in unknown:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
