"""qnetem.cli.evidence: what a report of a fault needs to hold, from a testbed in whatever condition. Edge."""

import asyncio
import http.client
import importlib.metadata
import json
import os
import platform
import re
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from qnetem import __version__
from qnetem import topology as topologies
from qnetem.cli.checks import machine_checks, state_checks
from qnetem.cli.inspecting import Inspection
from qnetem.runtime.errors import QnetemError
from qnetem.testbed.archive import end_of
from qnetem.testbed.client import connect
from qnetem.testbed.known_secrets import known_secrets
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import TestbedPlan
from qnetem.testbed.redaction import Redactor
from qnetem.testbed.state import State

__all__ = ["Evidence", "gathered"]

# of all logs and journals together, and of one where there are few
_ALL_BYTES: Final = 32 << 20
_ONE_BYTES: Final = 4 << 20
_ASK_TIMEOUT_S: Final = 20.0
_METRICS_TIMEOUT_S: Final = 3.0


@dataclass
class Evidence:
    """Files by name, and what is to be known of them.

    Attributes:
        name: Of the testbed.
        condition: "running", "down", "killed" (its supervisor was), "never brought up".
        files: What was found; no secret is in it.
        missing: Why something is not there.
        cut_bytes: How much was left out at the head of long files.
        redacted: How many secrets were taken out of a file: there should be none.
    """

    name: str = "testbed"
    condition: str = "never brought up"
    files: dict[str, bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    cut_bytes: dict[str, int] = field(default_factory=dict)
    redacted: dict[str, int] = field(default_factory=dict)

    def take(self, name: str, read: Callable[[], bytes | None]) -> None:
        """Add what `read` returns, unless it is None; note why where it fails."""
        try:
            data = read()
        except QnetemError as error:
            self.missing[name] = "; ".join(str(error).splitlines())
        except Exception as error:  # whatever is broken, the rest is wanted all the more
            self.missing[name] = getattr(error, "strerror", None) or type(error).__name__
        else:
            if data is not None:
                self.files[name] = data

    def take_json(self, name: str, read: Callable[[], Any]) -> None:
        """Add the JSON of what `read` returns, unless it is None."""

        def text() -> bytes | None:
            value = read()
            return None if value is None else json.dumps(value, indent=1).encode()

        self.take(name, text)

    def about(self, at: datetime) -> bytes:
        """Return a description: versions, the machine, and what is to be known of the other files."""
        return json.dumps(
            {
                "collected": at.isoformat(timespec="seconds"),
                "testbed": self.name,
                "condition": self.condition,
                "qnetem": __version__,
                "python": f"{platform.python_implementation()} {platform.python_version()}",
                "system": platform.platform(),
                "kernel": f"{platform.release()} {platform.version()}",
                "machine": platform.machine(),
                "cores": os.cpu_count(),
                "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                "packages": _packages(),
                "missing": self.missing,
                "cut_bytes": self.cut_bytes,
                "redacted": self.redacted,
            },
            indent=1,
        ).encode()


def gathered(state: State | None, topology_path: Path) -> Evidence:
    """Gather what there is of a testbed; `state` is None for one that was never brought up."""
    found = Evidence()
    found.take_json("doctor.json", lambda: [asdict(one) for one in (*machine_checks(), *state_checks(topology_path))])
    plan = None
    if state is not None:
        found.name, layout = state.layout.root.name, state.layout
        plan = _take_state(found, state)
        _take_running(found, state, plan)
        _take_lines(found, layout)
        found.take_json("files.json", lambda: _listing(layout.root))

    def file() -> bytes | None:
        topology = topologies.load(topology_path)
        if state is None:
            found.name = topology.name
        # the one in force is there already
        return None if plan is not None and plan.digest == topology.digest else topologies.render(topology).encode()

    found.take("topology-file.yaml", file)
    if state is not None:
        _redact(found, state.layout)
    return found


def _take_state(found: Evidence, state: State) -> TestbedPlan | None:
    layout = state.layout
    plans: list[TestbedPlan] = []

    def plan_values() -> dict[str, Any] | None:
        plan = state.plan()
        if plan is None:
            return None
        plans.append(plan)
        return _without_arguments(plan)

    def condition() -> None:
        last = state.launch()
        found.condition = "down" if last is None else "running" if last.is_running else "killed"

    found.take_json("plan.json", plan_values)
    found.take_json("launch.json", condition)
    for path in (layout.topology, layout.ports, layout.desired, layout.clock):
        found.take(path.name, lambda path=path: path.read_bytes() if path.exists() else None)  # type: ignore[misc]
    return plans[0] if plans else None


def _without_arguments(plan: TestbedPlan) -> dict[str, Any]:
    """Return a plan; arguments of programs of another make could be secrets."""
    values = plan.to_json()
    for process in values["processes"].values():
        if process["command"]:
            program, *arguments = process["command"]
            process["command"] = [program, f"({len(arguments)} arguments)"]
    return values


def _take_running(found: Evidence, state: State, plan: TestbedPlan | None) -> None:
    """Add what only a running testbed tells."""
    if found.condition != "running" or plan is None:
        found.missing["inspect.json, links.json, metrics"] = f"the testbed is not running ({found.condition})"
        return
    found.take_json("inspect.json", lambda: asyncio.run(_inspected(state)))
    found.take_json("links.json", lambda: asyncio.run(_links(state, plan)))
    with ThreadPoolExecutor(8) as pool:
        addresses = {one.name: one.listeners.get("metrics") for one in plan.processes.values()}
        asked = {name: pool.submit(_metrics, address) for name, address in addresses.items() if address}
    for name, answer in asked.items():
        found.take(f"metrics/{name}.txt", answer.result)


async def _inspected(state: State) -> dict[str, Any]:
    async with connect(state) as client:
        return await Inspection(client, is_wide=True).values()


async def _links(state: State, plan: TestbedPlan) -> list[dict[str, Any]]:
    """Return parameters, settings and faults of each link."""
    async with asyncio.timeout(_ASK_TIMEOUT_S), connect(state) as client:
        reports = await asyncio.gather(*(client.get_link(link_id) for link_id in plan.links))
    return [json_format.MessageToDict(report, preserving_proto_field_name=True) for report in reports]


def _metrics(address: str) -> bytes:
    # not urllib: it would ask a proxy
    connection = http.client.HTTPConnection(address, timeout=_METRICS_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


def _take_lines(found: Evidence, layout: Layout) -> None:
    """Add logs and journals, long ones without their heads."""
    paths = sorted([*layout.logs.glob("*.log"), *layout.journals.glob("*.jsonl")])
    limit_bytes = min(_ONE_BYTES, _ALL_BYTES // max(1, len(paths)))
    for path in paths:
        name = str(path.relative_to(layout.root))

        def end(path: Path = path, name: str = name) -> bytes:
            data, cut_bytes = end_of(path, limit_bytes)
            if cut_bytes:
                found.cut_bytes[name] = cut_bytes
            return data

        found.take(name, end)


def _listing(root: Path) -> list[dict[str, Any]]:
    """Return every file below the state folder, without what is in it."""
    values = []
    for path in sorted(root.rglob("*")):
        try:
            status = path.lstat()
        except FileNotFoundError:  # temporary
            continue
        mode = stat.filemode(status.st_mode)
        values.append({"path": str(path.relative_to(root)), "mode": mode, "size_bytes": status.st_size})
    return values


def _redact(found: Evidence, layout: Layout) -> None:
    secrets, unread = known_secrets(layout)
    for line in unread:
        found.missing["a look for secrets that could not be read"] = line
    redactor = Redactor(secrets)
    for name, data in found.files.items():
        found.files[name], count = redactor.clean(data)
        if count:
            found.redacted[name] = count


def _packages() -> Mapping[str, str]:
    """Return the versions of what qnetem depends on."""
    found = {}
    try:
        required = importlib.metadata.requires("qnetem") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    for line in required:
        if "extra ==" in line:
            continue
        name = re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
