"""qnetem.testbed.api.views: what processes, links and events are to who looks at them from Python. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from qnetem.testbed.lines import Line

__all__ = ["EndView", "Event", "LinkView", "ProcessView", "event_of"]

_PS_PER_S: Final = 10**12
_IN_SERVICE: Final = ("OPERATING", "DEGRADED")
_NO_FIELDS: Final = frozenset(("wall", "emulated_ps", "process", "event"))


@dataclass(frozen=True, slots=True)
class ProcessView:
    """A process at the moment it was looked at.

    Attributes:
        state: STARTING, HEALTHY, UNHEALTHY, PAUSED, RESTARTING, STOPPED or FAILED.
        last_end: How it ended last: "killed by SIGKILL", "exit 4: ..."; empty when it never did.
        listeners: "host:port" by listener: peer, management, https, metrics.
        disconnected: The planes that it has been taken off.
    """

    name: str
    kind: str
    state: str
    pid: int
    restart_count: int
    up_s: float
    last_end: str
    listeners: Mapping[str, str]
    disconnected: Sequence[str] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ProcessView":
        """Return the view of what `inspect -f json` tells of a process."""
        return cls(**_chosen(cls, values))

    @property
    def is_healthy(self) -> bool:
        """Whether it serves."""
        return self.state == "HEALTHY"


@dataclass(frozen=True, slots=True)
class EndView:
    """One end of a link, as its node says; UNKNOWN when the node does not answer, `reason` then says why."""

    state: str
    reason: str

    def __str__(self) -> str:
        """Say state and reason in a word or two."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link at the moment it was looked at: the worse of its two ends, and figures as the receiver measures them.

    Attributes:
        state: COMMISSIONING, OPERATING, DEGRADED, DOWN, or UNKNOWN when an end does not answer.
        reason: Why it is in that state, such as "no-light".
        ends: Both ends, by node.
        in_state_s, time_to_service_s: Emulated seconds.
        secret_gross_hz: Secret bits per emulated second, before authentication is paid for.
        secret_net_hz: Less the tags of post-processing; below 0 the link costs more key than it makes.
    """

    link_id: str
    endpoints: tuple[str, str]
    state: str
    reason: str
    ends: Mapping[str, EndView]
    in_state_s: float
    time_to_service_s: float
    qber_prob: float
    clicks_hz: float
    sifted_hz: float
    secret_gross_hz: float
    secret_net_hz: float
    blocks_made_count: int
    secret_bits_total: int
    lag_s: float
    discarded_trains_count: int
    is_idle: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "LinkView":
        """Return the view of what `inspect -f json` tells of a link."""
        ends = {node: EndView(end["state"], end["reason"]) for node, end in values["ends"].items()}
        first, second = values["endpoints"]
        return cls(**{**_chosen(cls, values), "ends": ends, "endpoints": (first, second)})

    @property
    def is_in_service(self) -> bool:
        """Whether it makes keys, as both ends see it."""
        return self.state in _IN_SERVICE

    def __str__(self) -> str:
        """Say what each end says, in one line."""
        return f"{self.link_id}: " + ", ".join(f"{node} {end}" for node, end in self.ends.items())


def _chosen(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(cls)}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, from the journal of a process.

    Attributes:
        name: Constant, such as "link.state.changed".
        process: Who wrote it down.
        wall: ISO 8601, UTC.
        emulated_s: Emulated seconds since the epoch.
        fields: What else it says: `link_id`, `state`, ...
    """

    name: str
    process: str
    wall: str
    emulated_s: float
    fields: Mapping[str, Any]

    def is_like(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Return whether it has this name and, among others, these fields; `process` goes for the writer."""
        here = {**self.fields, "process": self.process}
        return self.name == name and all(here.get(key) == value for key, value in fields.items())

    def __str__(self) -> str:
        """Say it in one line."""
        return " ".join([self.process, self.name, *(f"{key}={value}" for key, value in self.fields.items())])


def event_of(line: Line) -> Event | None:
    """Return the event of a line of a journal; None for a line that is none (a process died as it wrote)."""
    values = line.values
    if not isinstance(values.get("event"), str):
        return None
    return Event(
        name=values["event"],
        process=str(values.get("process", line.process)),
        wall=line.wall,
        emulated_s=values.get("emulated_ps", 0) / _PS_PER_S,
        fields={key: value for key, value in values.items() if key not in _NO_FIELDS},
    )
