"""`python -m qnetem.testbed.supervisor TOPOLOGY MARK ROOM...`, started by a launcher, its socket on stdin. Wiring."""

import asyncio
import socket
import sys

from qnetem.testbed.supervisor.supervision import supervise


def main(argv: list[str]) -> int:
    """Run one testbed."""
    topology_path, mark, *rooms = argv
    with socket.socket(fileno=0) as control:
        return asyncio.run(supervise(control, topology_path, mark, rooms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
