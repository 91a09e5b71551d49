"""qnetem.cli.executing: `exec`. Wiring."""

import os
import signal
import sys
from typing import Annotated, Final, NoReturn

import typer

from qnetem.cli.options import TopologyOption
from qnetem.cli.output import say
from qnetem.cli.testbeds import plan_of, state_of

__all__ = ["CONTEXT", "execute"]

# what follows the node is the command's, options too
CONTEXT: Final = {"allow_interspersed_args": False}
# as shells say it
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127


def execute(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Beside which node.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run, with its arguments.")],
    topology: TopologyOption = None,
) -> int:
    """Run a command beside a node: in its state folder, told its addresses and the paths of its credentials.

    Standard streams and the exit code are the command's.
    """
    from qnetem.runtime.errors import BadInputError, NotFoundError, StorageError
    from qnetem.runtime.process import load_config
    from qnetem.testbed.client import NotRunningError
    from qnetem.testbed.plan import BROKER
    from qnetem.testbed.surroundings import environment_of
    from qnetem.topology.words import did_you_mean, shown
    from qnetem.v1 import process_pb2

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise BadInputError("no command is given")
    state = state_of(topology)
    plan, last = plan_of(state), state.launch()
    nodes = [one.name for one in plan.processes.values() if one.kind == process_pb2.PROCESS_KIND_NODE]
    if node not in nodes:
        raise NotFoundError(f"testbed {plan.testbed}: no node {shown(node)}" + did_you_mean(node, nodes))
    if last is None or not last.is_running:
        raise NotRunningError(f"testbed {plan.testbed} is not running")
    config = load_config(state.layout.config(node))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")}
    broker = plan.processes.get(BROKER)
    mqtt = broker.listeners.get("mqtt", "") if broker is not None else ""
    environment |= environment_of(config, plan.processes[node].listeners, mqtt, plan.topology_path)
    environment["PWD"] = config.state_dir
    try:
        os.chdir(config.state_dir)
    except OSError as error:
        raise StorageError(f"{config.state_dir}: {error.strerror}") from error
    _become(words, environment)


def _become(words: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process: the terminal, signals and the exit code are the command's then."""
    sys.stdout.flush()
    # Python ignores it, and what is ignored stays so
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 (the user's own command)
    except (OSError, ValueError) as error:  # ValueError: a NUL, or an empty name
        say(f"qnetem: {words[0]}: {getattr(error, 'strerror', None) or error}")
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        sys.exit(_NOT_FOUND if is_missing else _NOT_EXECUTABLE)
