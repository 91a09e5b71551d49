"""control_plane.inventory: the nodes that reported, and when. Pure.

Times are of any one clock, seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from qnetem.v1 import controller_pb2 as pb

__all__ = ["SILENT_S", "Inventory", "Known"]

# a node that attends reports every second: one that did not for so long is paused, cut off or dead
SILENT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a node said last, and when; whether it attends still."""

    report: pb.AttendedReport
    at_s: float
    is_attending: bool

    def is_silent(self, now_s: float) -> bool:
        """Return whether nothing is to be made of the node's word any more."""
        return not self.is_attending or now_s - self.at_s > SILENT_S


class Inventory:
    """Every node that ever reported to this process."""

    def __init__(self, expected: Iterable[str] = ()) -> None:
        """Expect these nodes; others are taken too."""
        self._expected = frozenset(expected)
        self._known: dict[str, Known] = {}

    def take(self, report: pb.AttendedReport, now_s: float) -> bool:
        """Take a report; return whether it changes what can be reached, or who is there, and not amounts alone."""
        before = self._known.get(report.node)
        self._known[report.node] = Known(report, now_s, True)
        return before is None or before.is_silent(now_s) or _shape(before.report) != _shape(report)

    def leave(self, node: str) -> None:
        """Note that a node attends no more."""
        known = self._known.get(node)
        if known is not None:
            self._known[node] = Known(known.report, known.at_s, False)

    def known(self) -> dict[str, Known]:
        """Return every node, by name."""
        return dict(sorted(self._known.items()))

    def missing(self, now_s: float) -> frozenset[str]:
        """Return the nodes that were expected and are not heard of now."""
        heard = {name for name, one in self._known.items() if not one.is_silent(now_s)}
        return self._expected - heard


def _shape(report: pb.AttendedReport) -> tuple[object, ...]:
    links = tuple((one.link_id, one.peer_node, one.is_reachable) for one in report.links)
    return report.is_relay, report.incarnation, tuple(report.sae_ids), links
