"""qnetem.testbed.supervisor.lifecycle: the life of one process as a state machine. Pure.

It is told what happens and when. Times are host seconds of a clock that never goes back.
"""

import signal
from dataclasses import dataclass
from typing import Final

from qnetem.v1 import supervisor_pb2
from qnetem.v1.supervisor_pb2 import (
    PROCESS_STATE_FAILED,
    PROCESS_STATE_HEALTHY,
    PROCESS_STATE_PAUSED,
    PROCESS_STATE_RESTARTING,
    PROCESS_STATE_STARTING,
    PROCESS_STATE_STOPPED,
    PROCESS_STATE_UNHEALTHY,
)

__all__ = ["ALIVE", "End", "Life", "RestartPolicy"]

# states in which there is a process
ALIVE: Final = frozenset({PROCESS_STATE_STARTING, PROCESS_STATE_HEALTHY, PROCESS_STATE_UNHEALTHY, PROCESS_STATE_PAUSED})
# cannot use its configuration; could not start; no such program (126 and 127, as shells say it)
_UNUSABLE: Final = frozenset({3, 126, 127})
_NOT_STARTED: Final = 4


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a process that died is started again.

    Attributes:
        first_delay_s: Before the first restart; doubled for each further one, up to `longest_delay_s`.
        longest_delay_s: The longest delay.
        give_up_count: Deaths of its own doing in a row after which it is left dead.
        unborn_give_up_count: The same for one that has never been healthy.
        steady_s: A process that was healthy this long has left its past deaths behind.
        silence_s: A process that has not been heard of for longer is unhealthy.
        start_s: A process that is not ready after this is killed.
    """

    first_delay_s: float = 0.1
    longest_delay_s: float = 5.0
    give_up_count: int = 10
    unborn_give_up_count: int = 3
    steady_s: float = 5.0
    silence_s: float = 5.0
    start_s: float = 60.0


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended: its exit code, or the signal that killed it. `last_line`: why, where that is known."""

    exit_code: int | None = None
    signal_number: int | None = None
    last_line: str = ""

    def __str__(self) -> str:
        """Say it in one line: "exit 4: cannot listen on ...", "killed by SIGKILL"."""
        if self.signal_number is not None:
            try:
                how = f"killed by {signal.Signals(self.signal_number).name}"
            except ValueError:  # a real-time signal
                how = f"killed by signal {self.signal_number}"
        else:
            how = f"exit {self.exit_code}"
        return f"{how}: {self.last_line}" if self.last_line else how


class Life:
    """What is known of one process, from its first start to the end of the testbed."""

    def __init__(self, policy: RestartPolicy) -> None:
        """Begin with a process that was never started."""
        self._policy = policy
        self.state: supervisor_pb2.ProcessState.ValueType = PROCESS_STATE_STOPPED
        self.is_wanted = False
        self.restart_count = 0
        self.last_end = ""
        self.started_s = 0.0
        self.was_ever_healthy = False
        self._death_count = 0
        self._healthy_s: float | None = None
        self._heard_s = 0.0
        self._is_kill_ordered = False

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, or will be in a moment."""
        return self.state in ALIVE

    def want(self) -> None:
        """The operator wants it to run: what it died of before is forgiven."""
        self.is_wanted = True
        self._death_count = 0
        if not self.is_alive:
            self.state = PROCESS_STATE_STARTING

    def abandon(self) -> None:
        """It was wanted and then not, before anything was started."""
        self.state = PROCESS_STATE_STOPPED

    def unwant(self) -> None:
        """The operator wants it to stay away; what is already dead is stopped by this."""
        self.is_wanted = False
        if not self.is_alive:
            self.state = PROCESS_STATE_STOPPED

    def order_kill(self) -> None:
        """The operator kills it: this death is none of its own."""
        self._is_kill_ordered = True

    def started(self, now_s: float) -> None:
        """A process was started."""
        self.state = PROCESS_STATE_STARTING
        self.started_s = self._heard_s = now_s
        self._healthy_s = None

    def heard(self, *, is_ready: bool, now_s: float) -> bool:
        """The process said that it is ready or lives; return whether that changed its state."""
        self._heard_s = now_s
        if is_ready and self._healthy_s is None:
            self._healthy_s = now_s
            self.was_ever_healthy = True
        old = self.state
        if self._healthy_s is not None and old in (PROCESS_STATE_STARTING, PROCESS_STATE_UNHEALTHY):
            self.state = PROCESS_STATE_HEALTHY
        return self.state != old

    def paused(self) -> None:
        """The process was stopped by SIGSTOP."""
        if self.is_alive:
            self.state = PROCESS_STATE_PAUSED

    def resumed(self, now_s: float) -> None:
        """The process goes on after a pause, which is not held against it."""
        if self.state == PROCESS_STATE_PAUSED:
            self.state = PROCESS_STATE_STARTING if self._healthy_s is None else PROCESS_STATE_HEALTHY
            self.excuse(now_s)
            if self._healthy_s is None:
                self.started_s = now_s

    def excuse(self, now_s: float) -> None:
        """Count silence from now on: before, it was the listener who was away."""
        self._heard_s = now_s

    def silent(self, now_s: float) -> bool:
        """Return whether the process has just become unhealthy: it was not heard of for too long."""
        if self.state == PROCESS_STATE_HEALTHY and now_s - self._heard_s > self._policy.silence_s:
            self.state = PROCESS_STATE_UNHEALTHY
            return True
        return False

    def overdue(self, now_s: float) -> bool:
        """Return whether the process should have been ready by now."""
        return self.state == PROCESS_STATE_STARTING and now_s - self.started_s > self._policy.start_s

    def ended(self, end: End, now_s: float) -> float | None:
        """The process ended; return in how many seconds to start it again, None to leave it as it is."""
        self.last_end = str(end)
        is_ordered, self._is_kill_ordered = self._is_kill_ordered, False
        if not self.is_wanted:
            self.state = PROCESS_STATE_STOPPED
            return None
        if self._healthy_s is not None and now_s - self._healthy_s >= self._policy.steady_s:
            self._death_count = 0
        is_hopeless = end.exit_code in _UNUSABLE or (end.exit_code == _NOT_STARTED and not self.was_ever_healthy)
        # SIGKILL comes from outside: an operator, an experiment, a machine without memory
        is_killed = end.signal_number == signal.SIGKILL and self._healthy_s is not None
        if not is_ordered and not is_killed:
            self._death_count += 1
        most = self._policy.give_up_count if self.was_ever_healthy else self._policy.unborn_give_up_count
        if is_hopeless or self._death_count >= most:
            self.state = PROCESS_STATE_FAILED
            self.is_wanted = False
            return None
        self.state = PROCESS_STATE_RESTARTING
        self.restart_count += 1
        doublings = max(0, self._death_count - 1)
        return min(self._policy.first_delay_s * 2.0**doublings, self._policy.longest_delay_s)
