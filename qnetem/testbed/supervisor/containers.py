"""qnetem.testbed.supervisor.containers: the compose project of a testbed, from its first container to none. Edge."""

import contextlib
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from qnetem.runtime.log import get_logger
from qnetem.testbed.containers.engine import Project, image_name
from qnetem.testbed.containers.project import project_name
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import ProcessPlan
from qnetem.testbed.planes import Plane
from qnetem.testbed.supervisor.container_body import ContainerBody

__all__ = ["Containers"]

_log = get_logger("testbed.containers")
_REMOVAL_S: Final = 120.0


class Containers:
    """While the block runs there may be containers; after it there are none, and no networks."""

    def __init__(self, testbed: str, layout: Layout) -> None:
        """Reach the engine.

        Raises:
            StartError: It cannot be reached, or has no image for us.
        """
        self._project = Project(project_name(testbed, layout.root), layout.project)
        self._guardian: subprocess.Popen[bytes] | None = None
        self._bodies: dict[str, ContainerBody] = {}
        self._project.check_image(image_name())

    def __enter__(self) -> Self:
        """Start the guardian: whatever ends this process, the containers end too."""
        project = self._project
        self._guardian = subprocess.Popen(
            [sys.executable, "-P", "-m", "qnetem.testbed.containers.guardian", project.name, str(project.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def deploy(self) -> None:
        """Make networks and containers; none is started. Blocks for seconds."""
        self._project.deploy()

    def body(self, service: str, log_path: Path) -> ContainerBody:
        """Return what the child of that name is made of."""
        body = self._bodies[service] = ContainerBody(service, self._project, log_path)
        return body

    def check(self, plan: ProcessPlan, planes: Collection[Plane]) -> None:
        """Every plane is networks of its own: each can be left."""

    async def rewire(self, plan: ProcessPlan, off: frozenset[Plane]) -> None:
        """Have a container off the networks of these planes, and on all others of its own, also when it restarts.

        Raises:
            UnavailableError: The engine does not do it.
        """
        await self._bodies[plan.name].rewire(off)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Have the guardian remove everything."""
        self._project.close()
        guardian = self._guardian
        if guardian is None or guardian.stdin is None:
            return
        guardian.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if guardian.wait(_REMOVAL_S) == 0:
                return
        _log.error("testbed.containers.left", project=self._project.name)
