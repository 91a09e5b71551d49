"""qnetem.testbed.zygote: `python -m ... FD SUPERVISOR_PID TOPOLOGY ROOM...`, started by a supervisor. Wiring."""

import socket
import sys

from qnetem.testbed.zygote.serving import serve


def main(argv: list[str]) -> int:
    """Serve on the inherited seqpacket socket; TOPOLOGY only tells a reader of process lists whose process this is."""
    descriptor, supervisor_pid, _, *rooms = argv
    with socket.socket(fileno=int(descriptor)) as control:
        return serve(control, int(supervisor_pid), rooms)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
