"""qnetem.testbed.measuring.plotting: probed links, drawn with matplotlib, which is an extra. Edge."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnetem.runtime.errors import BadInputError, StorageError
from qnetem.testbed.measuring.comparison import LIMIT_SIGMAS
from qnetem.testbed.measuring.probing import Measured
from qnetem.testbed.measuring.tally import GAP_BINS

__all__ = ["plotter"]

_KINDS: Final = (".png", ".pdf", ".svg")
_GAP_BINS: Final = 80


def plotter(path: Path) -> Callable[[Sequence[Measured]], None]:
    """Return what draws links into a file.

    Raises:
        BadInputError: It cannot be drawn: matplotlib is not installed, or the file's kind is unknown.
    """
    if path.suffix not in _KINDS:
        raise BadInputError(f"{path}: a plot is one of {', '.join(_KINDS)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise BadInputError("--plot needs matplotlib: pip install 'qnetem[plot]'") from None

    def draw(found: Sequence[Measured]) -> None:
        figure = Figure(figsize=(11, 3.6 * len(found)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(found), 2, squeeze=False)
        for one, (left, right) in zip(found, axes, strict=True):
            _deviations(left, one)
            _gaps(right, one)
        try:
            figure.savefig(path)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error

    return draw


def _deviations(axes: Any, one: Measured) -> None:
    rows = [row for row in one.rows if np.isfinite(row.sigmas)]
    places = np.arange(len(rows))[::-1]
    axes.errorbar([row.sigmas for row in rows], places, xerr=1.96, fmt="o", markersize=4, capsize=2)
    axes.axvline(0.0, color="0.5", linewidth=0.8)
    for side in (-LIMIT_SIGMAS, LIMIT_SIGMAS):
        axes.axvline(side, color="tab:red", linewidth=0.8, linestyle="--")
    axes.set_yticks(places, [row.quantity for row in rows])
    axes.set_xlabel("measured less configured, standard deviations (95 % bars)")
    axes.set_title(f"link {one.link_id}")


def _gaps(axes: Any, one: Measured) -> None:
    """Draw how long it is from click to click, and how long it is to be by light and dead time."""
    wanted, total = one.wanted, int(one.tally.gaps.sum())
    live_prob = wanted.registered_prob / max(1e-300, 1.0 - wanted.dead_slots * wanted.registered_prob)
    first = wanted.dead_slots + 1
    last = min(GAP_BINS - 1, first + int(6.0 / max(live_prob, 1e-6)) + 1)
    edges = np.unique(np.linspace(first, last, _GAP_BINS + 1).astype(np.int64))
    sums = np.concatenate(([0], np.cumsum(one.tally.gaps)))
    seen = np.diff(sums[edges]) / np.diff(edges) / max(total, 1)
    past = (1.0 - live_prob) ** (edges - first)
    axes.stairs(seen, edges, fill=True, alpha=0.4, label="measured")
    axes.stairs(-np.diff(past) / np.diff(edges), edges, color="black", linewidth=0.9, label="light and dead time")
    axes.set_yscale("log")
    axes.set_xlabel("from click to click, slots")
    axes.set_ylabel("probability")
    axes.legend()
