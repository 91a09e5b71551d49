"""node: the entry of the process, `python -m node --config FILE`. Wiring."""

import sys

from node.service import serve
from qnetem.runtime.process import main

if __name__ == "__main__":
    sys.exit(main(serve))
