"""classical_channel: `python -m classical_channel --config FILE`. Wiring."""

import sys

from classical_channel.service import serve
from qnetem.runtime import process

if __name__ == "__main__":
    sys.exit(process.main(serve))
