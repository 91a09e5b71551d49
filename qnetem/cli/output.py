"""qnetem.cli.output: tables for people, plain columns for pipes, JSON for programs. Edge."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["columns", "print_json", "print_table", "rich_table", "say"]


def say(text: str) -> None:
    """Tell the user how it goes, on standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as aligned lines, nothing cut off."""
    table = [header, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table: with lines and colours on a terminal, as plain columns elsewhere.

    Args:
        header: Names of the columns.
        rows: Cells, as many as the header in each row.
        title: Printed above the table.
        right: Columns with numbers, aligned to the right on a terminal.
        styles: Style of a cell by its text, on a terminal.
    """
    if not sys.stdout.isatty():
        if title:
            print(title)
        for line in columns(header, rows):
            print(line)
        return
    from rich.console import Console

    Console().print(rich_table(header, rows, title=title, right=right, styles=styles))


def rich_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    styles: Mapping[str, str] | None = None,
) -> "Table":
    """Return a table as a terminal shows it; arguments as for `print_table`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    return table
