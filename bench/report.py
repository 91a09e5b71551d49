"""bench.report: tables of figures, kept in docs/figures.md between markers. Edge."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["publish", "table"]

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures.md"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def publish(name: str, command: str, text: str) -> None:
    """Print a section and, with --write among the arguments, put it into docs/figures.md between its markers."""
    body = f"Made by `{command}`, Python {platform.python_version()}.\n\n{text}\n"
    print(f"\n## {name}\n{body}", flush=True)
    if "--write" not in sys.argv:
        return
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    page = FIGURES.read_text()
    if start not in page:
        page += f"\n{start}\n{end}\n"
    before, rest = page.split(start)
    _, after = rest.split(end)
    FIGURES.write_text(f"{before}{start}\n{body}{end}{after}")
