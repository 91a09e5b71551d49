"""What a process has started is paused, resumed and ended with it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qnetem.v1.supervisor_pb2 import (
    PROCESS_ACTION_KILL,
    PROCESS_ACTION_PAUSE,
    PROCESS_ACTION_RESUME,
    PROCESS_ACTION_STOP,
    PROCESS_STATE_HEALTHY,
)

Lab = Any
# the process, and beside it one that it has started
COMMAND = ["sh", "-c", f'sleep 600 & exec {sys.executable} -P -m qnetem_test_room "$@"', "sh"]


def states_of_group(group: int) -> dict[str, str]:
    """Return command and state, as Linux calls it, of every process of a group."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        state, _, pgrp, *_ = rest.split()
        if int(pgrp) == group:
            found[head.partition("(")[2]] = state
    return found


async def test_a_pause_is_that_of_all_that_a_process_has_started(lab: Lab, eventually: Callable[..., Any]) -> None:
    async with lab.up(commands={"n0": COMMAND}) as client:
        pid = next(one.pid for one in (await client.get()).processes if one.name == "n0")
        assert states_of_group(pid)["sleep"] == "S"
        await client.act(PROCESS_ACTION_PAUSE, ["n0"])
        await eventually(lambda: set(states_of_group(pid).values()) == {"T"})
        await client.act(PROCESS_ACTION_RESUME, ["n0"])
        await eventually(lambda: states_of_group(pid)["sleep"] == "S")
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        await eventually(lambda: states_of_group(pid) == {})
        again = (await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20))["n0"].pid
        assert states_of_group(again)["sleep"] == "S"
        # one that is paused takes its leave in order all the same
        await client.act(PROCESS_ACTION_PAUSE, ["n0"])
        (stopped,) = await client.act(PROCESS_ACTION_STOP, ["n0"])
        assert stopped.last_end == "exit 0"
        await eventually(lambda: states_of_group(again) == {})
