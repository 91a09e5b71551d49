"""control_plane: the entry of the process, `python -m control_plane --config FILE`. Wiring."""

import sys

from control_plane.service import serve
from qnetem.runtime.process import main

if __name__ == "__main__":
    sys.exit(main(serve))
