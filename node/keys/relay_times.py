"""node.keys.relay_times: how long relaying waits for what. Pure."""

from dataclasses import dataclass

__all__ = ["RelayTimes", "Usual"]


@dataclass(frozen=True, slots=True)
class RelayTimes:
    """Wall seconds.

    Attributes:
        total_s: To have a request's keys at every target, all attempts together.
        attempt_s: One attempt over one path, beside three of its round trips; more where a path usually takes longer.
            A freeze of a relay costs one.
        detour_s: The most that an attempt gets while another sound path is known, beside three round trips.
        hop_s: Of an attempt, what each hop leaves to the one before it to answer in.
        connect_s: To wait for a neighbour that is not connected: with none, no bit is risked.
        call_s: To be told a burn, a void, an assignment.
        retry_s: The first pause before the same is tried again; doubled each time.
        idle_s: The longest pause; also how often the store is swept.
        in_flight_s: A middle node that heard nothing of a transfer for so long burns its pad; sources give up before.
        settle_s: How long a middle node gathers what went through before it is noted on the disk.
    """

    total_s: float = 3.0
    attempt_s: float = 0.4
    detour_s: float = 0.7
    hop_s: float = 0.05
    connect_s: float = 0.25
    call_s: float = 1.0
    retry_s: float = 0.05
    idle_s: float = 5.0
    in_flight_s: float = 60.0
    settle_s: float = 0.5


@dataclass(slots=True)
class Usual:
    """How long something takes as a rule, so that what takes longer is amiss: a busy machine is not a dead relay.

    Source: RFC 6298, section 2 (smoothed mean and deviation).
    """

    mean_s: float = 0.0
    deviation_s: float = 0.0

    def note(self, taken_s: float) -> None:
        """Learn of one that came to its end."""
        if self.mean_s == 0.0:
            self.mean_s, self.deviation_s = taken_s, taken_s / 2
            return
        self.deviation_s += (abs(taken_s - self.mean_s) - self.deviation_s) / 4
        self.mean_s += (taken_s - self.mean_s) / 8

    @property
    def limit_s(self) -> float:
        """What hardly one takes; 0 while nothing is known."""
        return self.mean_s + 4 * self.deviation_s
