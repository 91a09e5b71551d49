"""A control plane in one file: watches the links of a quantum network, says over which path to talk.

It knows of the network what ACCESS tells (addresses and certificates, as `write_access` of a testbed writes them),
hears of every link from the nodes at its ends over gRPC, and writes the path in force to ROUTE:

    python path_switch.py ACCESS ROUTE alice bob
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc.aio

from qnetem.v1 import link_session_pb2, node_pb2, node_pb2_grpc

USABLE = (link_session_pb2.LINK_STATE_OPERATING, link_session_pb2.LINK_STATE_DEGRADED)
AGAIN_S = 0.2


def paths(
    links: Mapping[str, tuple[str, str]], here: str, target: str, been: tuple[str, ...] = ()
) -> Iterator[list[str]]:
    """Yield every path without a loop, as nodes. `links`: the two ends of each link, by id."""
    if here == target:
        yield [*been, here]
        return
    for ends in links.values():
        if here in ends:
            there = ends[0] if here == ends[1] else ends[1]
            if there not in (*been, here):
                yield from paths(links, there, target, (*been, here))


class PathSwitch:
    """Decides. Stays on a path while all of it is usable, else takes the shortest one that is."""

    def __init__(self, links: Mapping[str, tuple[str, str]], source: str, target: str) -> None:
        self._ends = {(node, link_id) for link_id, ends in links.items() for node in ends}
        self._link_of = {frozenset(ends): link_id for link_id, ends in links.items()}
        self._paths = sorted(paths(links, source, target), key=lambda path: (len(path), path))
        self._is_usable: dict[tuple[str, str], bool] = {}
        self.path: list[str] | None = None

    def heard(self, node: str, link_id: str, is_usable: bool) -> None:
        """A node says whether it can use a link."""
        self._is_usable[node, link_id] = is_usable
        self._decide()

    def lost(self, node: str) -> None:
        """A node does not answer any more."""
        for known, link_id in self._ends:
            if known == node:
                self._is_usable[known, link_id] = False
        self._decide()

    def _decide(self) -> None:
        # who answers first is no reason to choose: every node is heard, or known to be silent, before the first choice
        if not self._ends <= self._is_usable.keys():
            return
        if self.path is None or not self._is_up(self.path):
            self.path = next((path for path in self._paths if self._is_up(path)), None)

    def _is_up(self, path: list[str]) -> bool:
        hops = {self._link_of[frozenset(hop)]: hop for hop in pairwise(path)}
        return all(self._is_usable.get((end, link_id), False) for link_id, hop in hops.items() for end in hop)


class Controller:
    """Keeps the decision up to date, and the file in which it stands."""

    def __init__(self, access: Mapping[str, Any], route: Path, source: str, target: str) -> None:
        self._nodes = access["nodes"]
        self._route = route
        links = {link_id: (one["endpoints"][0], one["endpoints"][1]) for link_id, one in access["links"].items()}
        self._switch = PathSwitch(links, source, target)
        files = access["credentials"]
        self._credentials = grpc.ssl_channel_credentials(
            *(Path(files[name]).read_bytes() for name in ("authority_path", "key_path", "certificate_path"))
        )

    async def run(self) -> None:
        """Watch every node, until cancelled."""
        self._publish()
        async with asyncio.TaskGroup() as tasks:
            for name in self._nodes:
                tasks.create_task(self._watch(name))

    async def _watch(self, node: str) -> None:
        # the certificate says who answers, whatever the address leads to
        options = [
            ("grpc.ssl_target_name_override", self._nodes[node]["target"]),
            ("grpc.max_reconnect_backoff_ms", 250),
        ]
        async with grpc.aio.secure_channel(self._nodes[node]["address"], self._credentials, options) as channel:
            stub: Any = node_pb2_grpc.NodeServiceStub(channel)
            while True:
                try:
                    async for response in stub.WatchLinks(node_pb2.WatchLinksRequest(), wait_for_ready=True):
                        self._switch.heard(node, response.link.link_id, response.link.state in USABLE)
                        self._publish()
                except grpc.aio.AioRpcError as error:
                    print(f"{node}: {error.details()}", flush=True)
                self._switch.lost(node)
                self._publish()
                await asyncio.sleep(AGAIN_S)

    def _publish(self) -> None:
        text = json.dumps({"path": self._switch.path})
        if not self._route.exists() or self._route.read_text() != text:
            part = self._route.with_suffix(".part")
            part.write_text(text)
            part.replace(self._route)  # readers see the old or the new one, whole
            print(f"route: {' - '.join(self._switch.path or ['none'])}", flush=True)


def main() -> None:
    """Run until stopped."""
    access, route, source, target = sys.argv[1:]
    controller = Controller(json.loads(Path(access).read_text()), Path(route), source, target)
    try:
        asyncio.run(controller.run())
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
