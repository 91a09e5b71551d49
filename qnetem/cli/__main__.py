"""qnetem.cli: `qnetem ...`, also as `python -m qnetem.cli`. Wiring."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0 fine, 1 deviated, 2 inconclusive, 3 bad input, 4 not deployed)."""
    if (sys.argv[1:] if argv is None else list(argv)) == ["version"]:
        # answers without the 0.2 s that reading a command line costs; `app` has the verb too
        from qnetem import __version__

        print(f"qnetem {__version__}")
        return 0
    from qnetem.cli.app import app
    from qnetem.cli.failures import guarded

    return guarded(lambda: app(args=argv, prog_name="qnetem", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
