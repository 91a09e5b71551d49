"""qnetem.testbed.tethered: `python -m ... PARENT PROGRAM ARGUMENT...`: a program that dies with its parent. Edge."""

import os
import sys
from typing import NoReturn

from qnetem.testbed import linux

__all__ = ["main"]


def main(argv: list[str]) -> NoReturn:
    """Become the program, which the kernel kills when the process with the pid PARENT ends."""
    parent, *command = argv
    if not linux.die_with(int(parent)):
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606 (an absolute path that the launcher has chosen)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
