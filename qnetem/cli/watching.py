"""qnetem.cli.watching: `logs` and `events`. Wiring."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.testbeds import state_of

if TYPE_CHECKING:
    from qnetem.testbed.lines import Line

__all__ = ["events", "logs"]

_POLL_S: Final = 0.2
_Count = Annotated[int | None, typer.Option("-n", metavar="COUNT", min=0, help="How many lines from the end.")]
_Follow = Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")]


def logs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A process; default: all.")] = None,
    count: _Count = 50,
    follow: _Follow = False,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what processes write to standard error, in order of time."""
    from qnetem.testbed.lines import log_text

    folder = state_of(topology).layout.logs
    _show(lambda: _files(folder, ".log", name), count, follow, log_text if form is Format.TABLE else _raw)


def events(
    count: _Count = None,
    follow: _Follow = False,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what happened: the journals of all processes, in order of time."""
    from qnetem.testbed.lines import event_text

    folder = state_of(topology).layout.journals
    _show(lambda: _files(folder, ".jsonl", None), count, follow, event_text if form is Format.TABLE else _raw)


def _raw(line: "Line") -> str:
    return line.text


def _files(folder: Path, suffix: str, name: str | None) -> dict[str, Path]:
    """Return the files of a folder by process.

    Raises:
        NotFoundError: There is none of this name; suggests the nearest.
    """
    from qnetem.runtime.errors import NotFoundError
    from qnetem.topology.words import did_you_mean, shown

    found = {path.name.removesuffix(suffix): path for path in sorted(folder.glob(f"*{suffix}"))}
    if name is None:
        return found
    if name not in found:
        raise NotFoundError(f"no process {shown(name)}" + did_you_mean(name, found))
    return {name: found[name]}


def _show(
    files: Callable[[], dict[str, Path]], count: int | None, is_following: bool, text_of: Callable[["Line"], str]
) -> None:
    from qnetem.testbed.tail import Tail

    tails: dict[str, Tail] = {}

    def joined() -> Sequence["Line"]:
        """Return the ends of files that have come since."""
        new = {name: Tail(path, name) for name, path in files().items() if name not in tails}
        tails.update(new)
        return _ordered([tail.last(count) for tail in new.values()])

    first = joined()
    for line in first if count is None else first[len(first) - min(count, len(first)) :]:
        print(text_of(line))
    # Ctrl-C is how following ends
    with contextlib.suppress(KeyboardInterrupt):
        while is_following:
            sys.stdout.flush()
            time.sleep(_POLL_S)
            more = [tail.more() for tail in tails.values()]
            for line in _ordered([*more, joined()]):
                print(text_of(line))


def _ordered(files: Sequence[Sequence["Line"]]) -> list["Line"]:
    from qnetem.testbed.lines import merged

    return list(merged(files))
