"""qnetem.testbed.containers.guardian: removes a project when its supervisor ends, however that ends. Wiring.

`python -m qnetem.testbed.containers.guardian PROJECT FILE`, its standard input a pipe that the supervisor holds open:
containers are no children of a supervisor, and do not die with it by themselves.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

from qnetem.runtime.errors import StartError
from qnetem.testbed.containers.engine import remove_project


def main() -> int:
    """Wait for the end of standard input, then remove the project; return the exit code."""
    # what ends the supervisor does not end this
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    try:
        remove_project(sys.argv[1], Path(sys.argv[2]))
    except StartError as error:
        print(f"qnetem: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
