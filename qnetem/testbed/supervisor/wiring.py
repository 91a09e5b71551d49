"""qnetem.testbed.supervisor.wiring: taking processes off the planes that join them, and joining them again. Edge."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed import desired
from qnetem.testbed.plan import ProcessPlan, TestbedPlan
from qnetem.testbed.planes import Plane, chosen_planes
from qnetem.testbed.supervisor.child import Child
from qnetem.testbed.supervisor.children import Children
from qnetem.testbed.supervisor.links import Links
from qnetem.v1 import process_pb2, supervisor_pb2
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

__all__ = ["LinkWiring", "Planes", "Wiring"]


class Wiring(Protocol):
    """What joins processes."""

    def check(self, plan: ProcessPlan, planes: Collection[Plane]) -> None:
        """Raise BadInputError where a process cannot be taken off one of these planes."""

    async def rewire(self, plan: ProcessPlan, off: frozenset[Plane]) -> None:
        """Have a process off these planes, and on all others that are its own; return when it is so.

        Raises:
            QnetemError: It cannot be done; it is as it was then.
        """


class Planes:
    """Keeps who is off which plane: desired state, until they are joined again."""

    def __init__(self, children: Children, wiring: Wiring, tell: Callable[[Child, str, list[str]], None]) -> None:
        """Rewire `children` by `wiring`; `tell` an event and the planes that it is about."""
        self._children = children
        self._wiring = wiring
        self._tell = tell
        self._changing = asyncio.Lock()

    async def disconnect(self, names: Sequence[str], planes: Collection[Plane]) -> list[Child]:
        """Take processes off planes, off all of theirs where none is named; return them.

        Raises:
            NotFoundError: There is no such process; nothing has happened then.
            BadInputError: One is not on a plane, or cannot be taken off it; nothing has happened then.
            QnetemError: It cannot be done.
        """
        return await self._change(names, planes, is_off=True)

    async def connect(self, names: Sequence[str], planes: Collection[Plane]) -> list[Child]:
        """Join processes to planes again. Raises as `disconnect`."""
        return await self._change(names, planes, is_off=False)

    async def _change(self, names: Sequence[str], planes: Collection[Plane], *, is_off: bool) -> list[Child]:
        if not names:
            raise BadInputError("no process is named")
        chosen = [self._children[name] for name in dict.fromkeys(names)]
        meant = [(child, chosen_planes(child.plan.name, child.plan.kind, planes)) for child in chosen]
        for child, these in meant if is_off else ():
            self._wiring.check(child.plan, these)
        async with self._changing:
            for child, these in meant:
                off = child.off | these if is_off else child.off - these
                if changed := off ^ child.off:
                    await self._wiring.rewire(child.plan, off)
                    child.off = off
                    self._tell(child, f"process.{'dis' if is_off else ''}connected", [*sorted(changed)])
        return chosen


class LinkWiring:
    """Processes of one machine: nothing of a node's passes the channels of its links, on the plane that it is off.

    What carries a plane is all that nodes have of it, so that is where it can be cut. Management has no carrier.
    """

    _HOW: Final = "`pause` freezes a process, and with `--runtime compose` every plane is a network"

    def __init__(self, plan: TestbedPlan, links: Links) -> None:
        """Cut links of `plan` through `links`."""
        self._plan = plan
        self._links = links
        self._faults: dict[tuple[str, str], list[str]] = {}

    def check(self, plan: ProcessPlan, planes: Collection[Plane]) -> None:
        """Raise BadInputError where there is nothing to cut."""
        if plan.kind != process_pb2.PROCESS_KIND_NODE:
            raise BadInputError(f"{plan.name}: on this machine only nodes can be disconnected; {self._HOW}")
        if "management" in planes:
            raise BadInputError(
                f"{plan.name}: processes on this machine share the management plane, name quantum or classical; "
                f"{self._HOW}"
            )

    async def rewire(self, plan: ProcessPlan, off: frozenset[Plane]) -> None:
        """Cut what is to be off, mend the rest."""
        for plane in desired.PLANES:
            held = self._faults.get((plan.name, plane))
            if plane in off and held is None:
                self._faults[plan.name, plane] = await self._cut(plan.name, plane)
            elif plane not in off and held is not None:
                for fault_id in held:
                    try:
                        await self._links.heal(fault_id)
                    except NotFoundError:  # an attempt before this one was cancelled after it
                        continue
                del self._faults[plan.name, plane]

    async def _cut(self, node: str, plane: desired.Plane) -> list[str]:
        begun: list[str] = []
        try:
            for link in self._plan.links.values():
                # links of KMEs of another make have no quantum channel
                if node in link.endpoints and (plane == "classical" or link.quantum_channel):
                    fault = supervisor_pb2.LinkFault(link_id=link.id)
                    if plane == "quantum":
                        fault.quantum.CopyFrom(LinkSettings(is_up=False))
                    else:
                        fault.classical.CopyFrom(ClassicalSettings(is_up=False))
                    begun.append((await self._links.begin(fault))[0])
        except BaseException:
            for fault_id in begun:
                self._links.drop(fault_id)
            raise
        return begun
