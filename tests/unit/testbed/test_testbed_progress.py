"""How far a testbed has come, told from the states of its processes."""

from qnetem.testbed.progress import Progress
from qnetem.v1 import supervisor_pb2
from qnetem.v1.supervisor_pb2 import ProcessStatus


def status(name: str, state: supervisor_pb2.ProcessState.ValueType, last_end: str = "") -> ProcessStatus:
    return ProcessStatus(name=name, state=state, last_end=last_end)


def test_progress_counts_what_serves_and_names_what_does_not() -> None:
    progress = Progress.of(
        [
            status("a", supervisor_pb2.PROCESS_STATE_HEALTHY, "killed by SIGKILL"),
            status("b", supervisor_pb2.PROCESS_STATE_STARTING),
            status("c", supervisor_pb2.PROCESS_STATE_RESTARTING, "exit 1: boom"),
            status("d", supervisor_pb2.PROCESS_STATE_FAILED, "exit 4: port 5 in use"),
        ]
    )
    assert (progress.healthy_count, progress.total_count) == (1, 4)
    assert progress.waiting == ("b", "c")
    assert progress.troubled == (("c", "exit 1: boom"), ("d", "exit 4: port 5 in use"))
    assert progress.failed == (("d", "exit 4: port 5 in use"),)
    assert not progress.is_healthy


def test_what_the_operator_has_put_aside_is_not_waited_for() -> None:
    progress = Progress.of(
        [
            status("a", supervisor_pb2.PROCESS_STATE_HEALTHY),
            status("b", supervisor_pb2.PROCESS_STATE_STOPPED),
            status("c", supervisor_pb2.PROCESS_STATE_PAUSED),
        ]
    )
    assert progress.is_healthy
    assert progress.total_count == 1
