"""qnetem.testbed.service_watch: whether the links of a testbed are in service, as `up --wait` judges it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["SETTLED_AFTER_S", "ServiceWatch"]

# a link that is DOWN for one of these reasons is still on its way: who it needs is not there yet
_PASSING: Final = frozenset(
    {"", "starting", "peer-unreachable", "peer-silent", "peer-closed", "quantum-channel-lost", "superseded"}
)
# a link that says the same trouble for so long is down for good, until something changes
SETTLED_AFTER_S: Final = 3.0
_IN_SERVICE: Final = ("OPERATING", "DEGRADED")


@dataclass
class ServiceWatch:
    """Looks at the links again and again until a verdict is due.

    Attributes:
        states: (state, reason) of each link at the last look.
    """

    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    _down_since_s: dict[str, tuple[str, float]] = field(default_factory=dict)

    def look(self, links: Iterable[Mapping[str, Any]], now_s: float) -> None:
        """Take the links as `inspect` tells them, at a monotonic time."""
        states = {link["link_id"]: (str(link["state"]), str(link["reason"])) for link in links}
        self.states = states
        for link, (state, reason) in states.items():
            if state != "DOWN" or reason in _PASSING:
                self._down_since_s.pop(link, None)
            elif self._down_since_s.get(link, ("", 0.0))[0] != reason:
                self._down_since_s[link] = (reason, now_s)

    @property
    def in_service(self) -> list[str]:
        """Links that make keys."""
        return [link for link, (state, _) in self.states.items() if state in _IN_SERVICE]

    @property
    def is_in_service(self) -> bool:
        """Whether every link makes keys."""
        return len(self.in_service) == len(self.states)

    def down(self, now_s: float) -> list[str]:
        """Return links that are DOWN for good, with their reasons: `alice-bob is DOWN: no-light`."""
        settled = (
            (link, reason)
            for link, (reason, since_s) in self._down_since_s.items()
            if now_s - since_s >= SETTLED_AFTER_S
        )
        return [f"{link} is DOWN: {reason}" for link, reason in settled]

    def waiting(self) -> list[str]:
        """Return what is not in service: `alice-bob is COMMISSIONING`."""
        return [
            f"{link} is {state}" + (f": {reason}" if reason else "")
            for link, (state, reason) in self.states.items()
            if state not in _IN_SERVICE
        ]
