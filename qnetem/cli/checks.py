"""qnetem.cli.checks: what a testbed needs of the machine, looked at one by one. Edge."""

import importlib.util
import os
import platform
import re
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qnetem.topology import Topology

__all__ = ["Check", "Verdict", "machine_checks", "state_checks"]

_ROOMS: Final = ("node", "quantum_channel", "classical_channel")
# a node and its share of the channels
_FILES_PER_NODE: Final = 60
_SUN_PATH_BYTES: Final = 100
_LATE_TIMER_S: Final = 0.010
_SLOW_SYNC_S: Final = 0.050
_LITTLE_DISK_BYTES: Final = 200 << 20


class Verdict(StrEnum):
    """What a check found."""

    FINE = "fine"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found."""

    what: str
    verdict: Verdict
    text: str


def _if(is_fine: bool, otherwise: Verdict = Verdict.WRONG) -> Verdict:
    return Verdict.FINE if is_fine else otherwise


def machine_checks() -> Iterator[Check]:
    """Look at the machine."""
    yield from (
        _python(),
        *_dependencies(),
        *_rooms(),
        _system(),
        _files(),
        _temporary_folder(),
        _shared_memory(),
        _ports(),
        _timer(),
        _disk(),
    )


def _python() -> Check:
    return Check("python", _if(sys.version_info >= (3, 11)), f"{platform.python_version()} (3.11 or later is needed)")


def _dependencies() -> Iterator[Check]:
    try:
        required = metadata.requires("qnetem") or []
    except metadata.PackageNotFoundError:
        yield Check("qnetem", Verdict.WARNING, "not installed as a package: dependencies are not checked")
        return
    missing = []
    for line in required:
        name = re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Check(
        "dependencies", _if(not missing), f"missing: {', '.join(missing)}" if missing else f"{len(required)} there"
    )


def _rooms() -> Iterator[Check]:
    ours = importlib.util.find_spec("qnetem")
    root = Path(ours.origin).parent.parent if ours is not None and ours.origin else None
    for room in _ROOMS:
        spec = importlib.util.find_spec(room)
        origin = Path(spec.origin) if spec is not None and spec.origin else None
        if origin is None or root is None or root not in origin.parents:
            yield Check(room, Verdict.WRONG, f"the package {room} is {origin or 'missing'}, not qnetem's")


def _system() -> Check:
    is_linux = sys.platform == "linux" and hasattr(os, "pidfd_open")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Check(
        "system", _if(is_linux), f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    )


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    nodes = soft // _FILES_PER_NODE
    return Check("open files", _if(soft >= 1024, Verdict.WARNING), f"limit {soft} (hard {hard}): about {nodes} nodes")


def _temporary_folder() -> Check:
    folder = Path(tempfile.gettempdir())
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("temporary folder", Verdict.WRONG, f"{folder} cannot be written to")
    is_short = len(os.fsencode(folder)) < _SUN_PATH_BYTES - 40
    return Check(
        "temporary folder", _if(is_short, Verdict.WARNING), f"{folder}" + ("" if is_short else ": long for sockets")
    )


def _shared_memory() -> Check:
    folder = Path("/dev/shm")  # noqa: S108  # only looked at
    is_there = folder.is_dir() and os.access(folder, os.W_OK)
    return Check(
        "shared memory", _if(is_there, Verdict.WARNING), f"{folder} " + ("is there" if is_there else "is missing")
    )


def _ports() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
    except OSError as error:
        return Check("ports", Verdict.WRONG, f"127.0.0.1: {error.strerror}")
    return Check("ports", Verdict.FINE, f"127.0.0.1 can be listened on (port {port} was free)")


def _timer() -> Check:
    late_s = []
    for _ in range(20):
        begun_s = time.monotonic()
        time.sleep(0.001)
        late_s.append(time.monotonic() - begun_s - 0.001)
    worst_s = max(late_s)
    is_fine = worst_s < _LATE_TIMER_S
    text = f"a sleep of 1 ms ends up to {worst_s * 1e3:.1f} ms late; wall clock {time.strftime('%Y-%m-%d %H:%M:%S %Z')}"
    return Check("clock", _if(is_fine, Verdict.WARNING), text)


def _disk() -> Check:
    folder = Path()
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_DISK_BYTES:
        return Check("disk", Verdict.WRONG, f"{free / 2**20:.0f} MiB free in {folder.resolve()}")
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
            begun_s = time.monotonic()
            os.fsync(file.fileno())
            sync_s = time.monotonic() - begun_s
    except OSError as error:
        return Check("disk", Verdict.WARNING, f"{folder.resolve()}: {error.strerror}")
    text = f"{free / 2**30:.1f} GiB free, a durable write takes {sync_s * 1e3:.1f} ms"
    return Check("disk", _if(sync_s < _SLOW_SYNC_S, Verdict.WARNING), text)


def state_checks(topology: Path | None) -> Iterator[Check]:
    """Look at the testbed that is meant, where there is one."""
    from qnetem import topology as topologies
    from qnetem.runtime.errors import NotFoundError, QnetemError

    path: Path | None = topology
    try:
        path = topology or topologies.find_default(Path())
        read = topologies.load(path)
    except QnetemError as error:
        verdict = Verdict.WRONG if path is not None else Verdict.WARNING
        yield Check("topology", verdict, str(error).splitlines()[0])
        return
    yield Check("topology", Verdict.FINE, f"{path}: {read.name}, {len(read.nodes)} nodes, {len(read.links)} links")
    needed = len(read.nodes) * _FILES_PER_NODE
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > soft:
        yield Check("open files", Verdict.WARNING, f"{len(read.nodes)} nodes may need {needed}, the limit is {soft}")
    try:
        from qnetem.testbed import launching

        state = launching.state_of(path.resolve())
        last = state.launch()
    except NotFoundError:
        yield Check("state", Verdict.FINE, "was never brought up")
        last, state = None, None
    except QnetemError as error:
        yield Check("state", Verdict.WRONG, str(error).splitlines()[0])
        return
    if state is not None:
        yield _launch_check(last is not None, last is not None and last.is_running, state.is_locked)
    if last is None or not last.is_running:
        yield from _fixed_ports(read)


def _launch_check(was_launched: bool, is_running: bool, is_locked: Callable[[], bool]) -> Check:
    if is_running:
        return Check("state", Verdict.FINE, "the testbed is running")
    if was_launched:
        return Check(
            "state", Verdict.WARNING, "its supervisor was killed; `qnetem up` recovers it, `qnetem down` clears up"
        )
    if is_locked():
        return Check("state", Verdict.WARNING, "somebody is bringing it up or taking it down")
    return Check("state", Verdict.FINE, "the testbed is down")


def _fixed_ports(topology: "Topology") -> Iterator[Check]:
    for node in topology.nodes.values():
        for name in ("peer", "management", "https", "metrics"):
            port = getattr(node.ports, name)
            if port is None:
                continue
            try:
                with socket.create_server(("127.0.0.1", port)):
                    pass
            except OSError as error:
                yield Check("ports", Verdict.WRONG, f"node {node.name}: {name} port {port}: {error.strerror}")
