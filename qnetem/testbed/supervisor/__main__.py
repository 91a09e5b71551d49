"""qnetem.testbed.supervisor: `python -m ... TOPOLOGY MARK ROOM...`, its launcher's socket on stdin. Wiring."""

import os
import socket
import sys


def main(argv: list[str]) -> int:
    """Run one testbed, as a child of nobody who would have to wait for it."""
    if os.fork():
        os._exit(0)
    # after the fork: it is over at once, and nothing that dislikes forks has been loaded
    import asyncio

    from qnetem.testbed.supervisor.supervision import supervise

    topology_path, mark, *rooms = argv
    control = socket.socket(fileno=0)
    try:
        return asyncio.run(supervise(control, topology_path, mark, rooms))
    finally:
        control.detach()  # it closes with the process: by that the launcher knows that all has ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
