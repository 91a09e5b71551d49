"""qnetem.cli.testbeds: which testbed a verb is about, and its supervisor. Edge."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient
    from qnetem.testbed.plan import TestbedPlan
    from qnetem.testbed.state import State

__all__ = ["client_of", "plan_of", "run", "state_of", "topology_path"]

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end; Ctrl-C cancels it, so that it can take back what it began."""
    import asyncio  # 40 ms

    return asyncio.run(work)


def topology_path(given: Path | None) -> Path:
    """Return the absolute path of the topology file that is meant.

    Raises:
        TopologyError: None is given, and the folder holds none or several.
    """
    from qnetem import topology

    return (given or topology.find_default(Path())).resolve()


def state_of(given: Path | None) -> "State":
    """Return the state of the testbed that is meant, whatever has become of its file.

    Raises:
        TopologyError: None is given, and the folder holds none or several.
        NotFoundError: It was never brought up.
    """
    from qnetem.testbed import launching
    from qnetem.topology import TopologyError

    try:
        path = topology_path(given)
    except TopologyError:
        # the file may be gone while its testbed runs
        known = _known_here()
        if len(known) != 1:
            raise
        path = known[0]
    return launching.state_of(path)


def _known_here() -> list[Path]:
    from qnetem.runtime.errors import QnetemError
    from qnetem.testbed.layout import FOLDER, Layout
    from qnetem.testbed.state import State

    found: set[Path] = set()
    for root in (Path().resolve() / FOLDER).glob("*/"):
        try:
            plan = State(Layout(root)).plan()
        except QnetemError:
            continue
        if plan is not None:
            found.add(Path(plan.topology_path))
    return sorted(found)


def plan_of(state: "State") -> "TestbedPlan":
    """Return the plan in force.

    Raises:
        NotFoundError: It was never brought up.
    """
    from qnetem.runtime.errors import NotFoundError

    plan = state.plan()
    if plan is None:
        raise NotFoundError(f"{state.layout.root}: no testbed was brought up here")
    return plan


@asynccontextmanager
async def client_of(given: Path | None) -> "AsyncIterator[TestbedClient]":
    """Connect to the supervisor of the testbed that is meant.

    Raises:
        TopologyError, NotFoundError: As `state_of`.
        NotRunningError: The testbed is not running.
    """
    from qnetem.testbed.client import connect

    async with connect(state_of(given)) as client:
        yield client
