"""qnetem.testbed.api.healing: taking back whatever was done to a testbed. Edge."""

import asyncio

from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.processes import ProcessHandle
from qnetem.testbed.state import State
from qnetem.v1 import supervisor_pb2
from qnetem.v1.supervisor_pb2 import PROCESS_STATE_FAILED, PROCESS_STATE_PAUSED, PROCESS_STATE_STOPPED

__all__ = ["heal"]


async def heal(connection: Connection, within: str) -> None:
    """Reset every link that somebody has set, connect, resume and start every process; return when all serve.

    Raises:
        NotInTimeError: A process does not serve in time.
    """
    desired = State(connection.layout).desired()
    for link_id in desired.links & connection.plan.links.keys():
        await connection.client.reset_link(link_id, is_all=True)
    testbed = await connection.client.get()
    if off := [one.name for one in testbed.processes if one.disconnected]:
        await connection.client.connect(off)
    states = {one.name: one.state for one in testbed.processes}
    paused = [name for name, state in states.items() if state == PROCESS_STATE_PAUSED]
    away = [name for name, state in states.items() if state in (PROCESS_STATE_STOPPED, PROCESS_STATE_FAILED)]
    if paused:
        await connection.client.act(supervisor_pb2.PROCESS_ACTION_RESUME, paused)
    if away:
        await connection.client.act(supervisor_pb2.PROCESS_ACTION_START, away)
    await asyncio.gather(*(ProcessHandle(lambda: connection, name).wait_healthy(within) for name in states))
