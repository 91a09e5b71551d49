"""qnetem.testbed.containers.engine: the Docker engine of this machine, and one compose project on it. Edge.

Projects are deployed by the `docker compose` command; containers are looked at and hurt through the engine's API.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from qnetem import __version__
from qnetem.runtime.errors import NotFoundError, StartError
from qnetem.testbed.containers.networks import plane_of
from qnetem.testbed.planes import Plane

__all__ = ["Project", "image_name", "remove_project"]

_COMMAND_S: Final = 180.0
_STOP_S: Final = 5
_SERVICE: Final = "com.docker.compose.service"
_PROJECT: Final = "com.docker.compose.project"


def image_name() -> str:
    """Return the image that processes of ours run in: QNETEM_IMAGE, or the one of this version."""
    return os.environ.get("QNETEM_IMAGE") or f"qnetem:{__version__}"


def _compose(name: str, file: Path, *arguments: str) -> list[str]:
    return ["docker", "compose", "--progress", "quiet", "-p", name, "-f", str(file), *arguments]


def remove_project(name: str, file: Path) -> None:
    """Remove containers and networks of a project, whatever state they are in. Idempotent.

    Raises:
        StartError: The engine does not do it; says why.
    """
    _run(_compose(name, file, "down", "--volumes", "--remove-orphans", "--timeout", str(_STOP_S)))


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise StartError("no program docker here: the compose runtime needs Docker with Compose v2") from None
    except subprocess.TimeoutExpired:
        raise StartError(f"docker compose did not end within {_COMMAND_S:g} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise StartError(f"docker compose: {lines[-1] if lines else 'failed and says nothing'}")


class Project:
    """One project while it runs."""

    def __init__(self, name: str, file: Path) -> None:
        """Use the engine that the environment names; nothing is deployed yet.

        Raises:
            StartError: It cannot be reached.
        """
        import docker  # 0.2 s, and only here is it needed
        import docker.errors

        self.name: Final = name
        self.file: Final = file
        self._errors = docker.errors
        try:
            self._client: Any = docker.from_env()
            self._client.ping()
        except docker.errors.DockerException as error:
            raise StartError(f"the Docker engine cannot be reached: {error}") from None
        self._on_end: dict[str, Callable[[int], None]] = {}
        self._events: Any = None
        self._loop = asyncio.get_running_loop()

    def check_image(self, image: str) -> None:
        """Look whether an image is there.

        Raises:
            StartError: It is not; says how to make it.
        """
        try:
            self._client.images.get(image)
        except self._errors.ImageNotFound:
            how = f"docker build -t {image} -f compose/Dockerfile ."
            raise StartError(f"image {image} is not there: in a checkout of qnetem, `{how}`") from None

    def deploy(self) -> None:
        """Make networks and containers; none is started."""
        _run(_compose(self.name, self.file, "up", "--no-start", "--remove-orphans", "--pull", "never"))
        # from now on each end of a container is heard of
        self._events = self._client.events(
            decode=True, filters={"label": f"{_PROJECT}={self.name}", "type": "container", "event": "die"}
        )
        threading.Thread(target=self._listen, name="docker-events", daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # the engine has gone, or we have: `down` finds out what is left
            for event in self._events:
                attributes = event["Actor"]["Attributes"]
                on_end = self._on_end.get(attributes.get(_SERVICE, ""))
                if on_end is not None:
                    self._loop.call_soon_threadsafe(on_end, int(attributes.get("exitCode", 0)))

    def on_end(self, service: str, act: Callable[[int], None]) -> None:
        """Have `act` called, in the loop, with the exit code of the container of a service whenever it ends."""
        self._on_end[service] = act

    def container(self, service: str) -> Any:
        """Return the container of a service.

        Raises:
            NotFoundError: There is none.
        """
        labels = [f"{_PROJECT}={self.name}", f"{_SERVICE}={service}"]
        found = self._client.containers.list(all=True, filters={"label": labels})
        if not found:
            raise NotFoundError(f"{service}: has no container in project {self.name}")
        return found[0]

    def join(self, service: str, off: Collection[Plane]) -> None:
        """Have the container of a service in its networks, at its addresses, but for those of some planes. Blocks.

        Raises:
            NotFoundError: It has no container, or a network is not there.
        """
        container = self.container(service)
        present = container.attrs["NetworkSettings"]["Networks"]
        own = json.loads(self.file.read_bytes())["services"][service]["networks"]
        for name, place in own.items():
            is_in = f"{self.name}_{name}" in present
            if plane_of(name) in off:
                if is_in:
                    self.network(name).disconnect(container)
            elif not is_in:
                # as compose does: others may call it by its name
                self.network(name).connect(container, aliases=[service], ipv4_address=place["ipv4_address"])

    def network(self, name: str) -> Any:
        """Return a network of the project, by its name in the file.

        Raises:
            NotFoundError: There is none.
        """
        full = f"{self.name}_{name}"
        # the engine takes a name for a part of one
        found = [one for one in self._client.networks.list(names=[full]) if one.name == full]
        if not found:
            raise NotFoundError(f"no network {name} in project {self.name}")
        return found[0]

    def close(self) -> None:
        """Listen no more."""
        if self._events is not None:
            with contextlib.suppress(Exception):
                self._events.close()
        self._client.close()
