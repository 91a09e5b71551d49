"""qnetem.testbed.progress: how far a testbed has come on its way to healthy. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from qnetem.v1 import supervisor_pb2
from qnetem.v1.supervisor_pb2 import (
    PROCESS_STATE_FAILED,
    PROCESS_STATE_HEALTHY,
    PROCESS_STATE_PAUSED,
    PROCESS_STATE_STOPPED,
)

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What `up` has to tell.

    Attributes:
        healthy_count: Processes that serve.
        total_count: All processes, but those that the operator has stopped or paused.
        waiting: Names of those that do not serve yet, in the order of the plan.
        troubled: (name, how it ended) of those among them that ended before, and of those that failed.
        failed: (name, how it ended) of those that will not be tried again.
    """

    healthy_count: int
    total_count: int
    waiting: tuple[str, ...]
    troubled: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, processes: Iterable[supervisor_pb2.ProcessStatus]) -> "Progress":
        """Return the progress of a testbed with these processes."""
        counted = [one for one in processes if one.state not in (PROCESS_STATE_STOPPED, PROCESS_STATE_PAUSED)]
        failed = [one for one in counted if one.state == PROCESS_STATE_FAILED]
        others = [one for one in counted if one.state not in (PROCESS_STATE_FAILED, PROCESS_STATE_HEALTHY)]
        return cls(
            healthy_count=len(counted) - len(failed) - len(others),
            total_count=len(counted),
            waiting=tuple(one.name for one in others),
            troubled=tuple((one.name, one.last_end) for one in (*others, *failed) if one.last_end),
            failed=tuple((one.name, one.last_end) for one in failed),
        )

    @property
    def is_healthy(self) -> bool:
        """Whether every process serves."""
        return self.healthy_count == self.total_count
