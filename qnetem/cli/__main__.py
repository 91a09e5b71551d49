"""qnetem.cli: `qnetem ...`, also as `python -m qnetem.cli`. Wiring."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0 fine, 1 deviated, 2 inconclusive, 3 bad input, 4 not deployed)."""
    from qnetem.cli.app import app
    from qnetem.cli.failures import guarded

    return guarded(lambda: app(args=argv, prog_name="qnetem", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
