"""qnetem.testbed.supervisor.children: all processes of the testbed. Edge."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Final

from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed import linux
from qnetem.testbed.supervisor.child import Child
from qnetem.testbed.supervisor.spawner import Spawner
from qnetem.v1 import process_pb2, supervisor_pb2

__all__ = ["Children"]

_LOOK_S: Final = 1.0
# the looker itself was away for longer than this: the host slept, or somebody stopped the supervisor
_AWAY_S: Final = 3.0
# links begin to commission as soon as nodes reach each other: not while other processes still need the machine to start
_GATE_LIMIT_S: Final = 20.0


class Children:
    """The processes, by name."""

    def __init__(self, children: Mapping[str, Child], spawner: Spawner, grace_s: float) -> None:
        """Own `children`, which `spawner` starts; one that is stopped has `grace_s` to end by itself."""
        self._children = children
        self._spawner = spawner
        self._grace_s = grace_s

    def __iter__(self) -> Iterator[Child]:
        """Iterate over the processes in the order of the plan."""
        return iter(self._children.values())

    def __getitem__(self, name: str) -> Child:
        """Return the process of that name.

        Raises:
            NotFoundError: There is none.
        """
        if name not in self._children:
            raise NotFoundError(f"no process is called {name}")
        return self._children[name]

    def known_pids(self) -> Iterator[int]:
        """Yield the pids of all processes that run."""
        return (child.pid for child in self if child.pid)

    async def run(self) -> None:
        """Keep every process as it is wanted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for child in self:
                tasks.create_task(child.run())
            tasks.create_task(self._look_forever())

    async def _look_forever(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            now_s = time.monotonic()
            if now_s - last_s > _AWAY_S:
                for child in self:
                    child.life.excuse(now_s)
            last_s = now_s
            for child in self:
                child.look(now_s)
            if not self._spawner.is_forking:
                linux.reap_strangers({*self.known_pids(), self._spawner.pid})

    async def act(self, action: supervisor_pb2.ProcessAction.ValueType, names: Sequence[str]) -> list[Child]:
        """Do one thing to some processes at the same time; return them.

        Raises:
            BadInputError: No name or no action is given.
            NotFoundError: There is no such process; nothing has happened to the others then.
            ConflictError: A process that does not run cannot be paused.
        """
        if not names:
            raise BadInputError("no process is named")
        chosen = [self[name] for name in dict.fromkeys(names)]
        await _all(self._do(action, child) for child in chosen)
        return chosen

    def _do(self, action: supervisor_pb2.ProcessAction.ValueType, child: Child) -> Awaitable[None]:
        match action:
            case supervisor_pb2.PROCESS_ACTION_START:
                return child.start()
            case supervisor_pb2.PROCESS_ACTION_STOP:
                return child.stop(self._grace_s)
            case supervisor_pb2.PROCESS_ACTION_KILL:
                return child.kill()
            case supervisor_pb2.PROCESS_ACTION_RESTART:
                return child.restart(self._grace_s)
            case supervisor_pb2.PROCESS_ACTION_PAUSE:
                return child.pause()
            case supervisor_pb2.PROCESS_ACTION_RESUME:
                return child.resume()
        raise BadInputError("no action is given")

    def expect_all(self) -> None:
        """Say of every process that it will start, before that is possible."""
        for child in self:
            child.is_due = True

    async def start_all(self) -> None:
        """Start every process; what carries the nodes' words when all others serve, or will not soon.

        Without it nobody has work that keeps the others from starting.
        """
        gates = [child for child in self if child.plan.kind == process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL]
        rest = [child for child in self if child not in gates]
        for child in gates:
            child.is_due = True
        await _all(child.start() for child in rest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATE_LIMIT_S):
                await _all(child.started() for child in rest)
        await _all(child.start() for child in gates)

    async def stop_all(self) -> None:
        """Stop every process: the nodes first, so that they do not see their channels go."""
        nodes = [child for child in self if child.plan.kind == process_pb2.PROCESS_KIND_NODE]
        rest = [child for child in self if child.plan.kind != process_pb2.PROCESS_KIND_NODE]
        for group in (nodes, rest):
            await _all(child.stop(self._grace_s) for child in group)

    def close(self) -> None:
        """Kill what is still there and let go of what the processes needed."""
        for child in self:
            child.close()


async def _all(actions: Iterator[Awaitable[None]]) -> None:
    """Await all to their ends; raise the first error then."""
    results = await asyncio.gather(*actions, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
