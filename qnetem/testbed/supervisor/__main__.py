"""qnetem.testbed.supervisor: `python -m ... TOPOLOGY MARK ROOM...`, its launcher's socket on stdin. Wiring."""

import os
import socket
import sys

from qnetem.testbed.supervisor.zygote_process import ZygoteProcess


def main(argv: list[str]) -> int:
    """Run one testbed, as a child of nobody who would have to wait for it."""
    if os.fork():
        os._exit(0)
    topology_path, mark, *rooms = argv
    name, _, value = mark.partition("=")
    zygote = ZygoteProcess(topology_path, rooms, {name: value})
    # only now: the zygote has more to import than we have
    import asyncio

    from qnetem.testbed.supervisor.supervision import supervise

    control = socket.socket(fileno=0)
    try:
        return asyncio.run(supervise(control, zygote))
    finally:
        control.detach()  # it closes with the process: by that the launcher knows that all has ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
