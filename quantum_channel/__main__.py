"""quantum_channel: `python -m quantum_channel --config FILE`. Wiring."""

import sys

from qnetem.runtime import process
from quantum_channel.service import serve

if __name__ == "__main__":
    sys.exit(process.main(serve))
