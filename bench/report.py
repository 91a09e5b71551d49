"""bench.report: tables of figures, kept in docs/figures.md (and the README) between markers. Edge."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["publish", "table"]

_ROOT = Path(__file__).resolve().parent.parent
FIGURES, README = _ROOT / "docs" / "figures.md", _ROOT / "README.md"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def publish(name: str, command: str, text: str) -> None:
    """Print a section and, with --write among the arguments, put it between its markers, in the README too if there."""
    body = f"Made by `{command}`, Python {platform.python_version()}.\n\n{text}\n"
    print(f"\n## {name}\n{body}", flush=True)
    if "--write" not in sys.argv:
        return
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    if start not in FIGURES.read_text():
        FIGURES.write_text(f"{FIGURES.read_text()}\n{start}\n{end}\n")
    for path in (FIGURES, README):
        before, found, rest = path.read_text().partition(start)
        if found:
            _, _, after = rest.partition(end)
            path.write_text(f"{before}{start}\n{body}{end}{after}")
