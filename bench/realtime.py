"""bench.realtime: does a 1 GHz link of 50 km with superconducting detectors keep up with the clock on the wall? Edge.

`python -m bench.realtime [--write] [--minutes=10] [--scales=1,0.8,0.6,0.4]`: sifting alone for so long at scale 1
(blocks too large to come to an end in that time), then with everything that makes key, at one scale after the other
until one holds, and that one for three minutes. CPU is of one core, PSS of the nodes in MB: after the first reading, at
the end. A block under assembly is held as one byte for each of its bits. A pool takes 64 Mbit, which are soon made, and
nobody collects keys here: after that blocks are made as before, and not stored. The secret rate is the last before it.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from bench.report import publish, table
from bench.scale import cpu_s
from bench.testbed import pss_mb
from qnetem import Testbed
from qnetem.testbed.api.views import LinkView
from qnetem.v1 import process_pb2

COMMAND = "python -m bench.realtime"
LINK = "alice-bob"
NODES = ("alice", "bob")
# in service and at work: what is read before is commissioning
_SETTLE_S = 10.0
_PIPELINE_S = 60.0
_HELD_S = 180.0
_READ_S = 2.0
_LAG_LIMIT_S = 1.0
# more than ten minutes give
_ENDLESS_BITS = 4_000_000_000
_RAMP = ["100kbit", "1Mbit", "4Mbit"]


def topology(scale: float) -> dict[str, Any]:
    """Return two nodes and a link that asks for as much key as a topology may."""
    return {
        "apiVersion": "qnetem/v1",
        "name": "realtime",
        "seed": 1,
        "time": {"scale": scale},
        "telemetry": {"broker": "none"},
        "topology": {
            "defaults": {"profile": "decoy-bb84-1ghz-snspd", "protocol": {"pool_high_water": "1000Gbit"}},
            "nodes": {name: {} for name in NODES},
            "links": [{"endpoints": list(NODES), "quantum": {"length": "50km"}, "protocol": {"block_ramp": _RAMP}}],
        },
    }


def make_blocks_endless(path: Path) -> None:
    """Have a node's configuration ask for one block that never ends: more than a topology may ask for."""
    config = json_format.Parse(path.read_text(), process_pb2.ProcessConfig())
    for link in config.node.links:
        link.protocol.block_ramp_bits[:] = [_ENDLESS_BITS]
    path.write_text(json_format.MessageToJson(config))


@dataclass
class Watch:
    """What is seen of a testbed."""

    bed: Testbed
    lags_s: list[float] = field(default_factory=list)
    pss: list[dict[str, float]] = field(default_factory=list)
    secret_hz: float = 0.0

    async def begin(self) -> None:
        """Start to count."""
        self._pids = {name: process.pid for name, process in (await self.bed.processes()).items() if process.pid}
        self._began_s = time.monotonic()
        self._used_s = {name: cpu_s(pid) for name, pid in self._pids.items()}
        self._discarded_count = (await self._link()).discarded_trains_count

    async def _link(self) -> LinkView:
        return (await self.bed.links())[LINK]

    async def until(self, watch_s: float) -> None:
        """Read until so long after the beginning."""
        while time.monotonic() - self._began_s < watch_s:
            await asyncio.sleep(_READ_S)
            self.view = await self._link()
            self.lags_s.append(self.view.lag_s)
            self.secret_hz = self.view.secret_gross_hz or self.secret_hz
            self.pss.append({name: pss_mb(self._pids[name]) for name in NODES})

    @property
    def discarded_count(self) -> int:
        """Trains given up since the beginning."""
        return self.view.discarded_trains_count - self._discarded_count

    @property
    def holds(self) -> bool:
        """Whether the link keeps up."""
        return self.discarded_count == 0 and self.lags_s[-1] < _LAG_LIMIT_S

    def row(self, scale: float) -> list[str]:
        """Return the row of the table."""
        watched_s = time.monotonic() - self._began_s
        shares = {name: 100 * (cpu_s(pid) - self._used_s[name]) / watched_s for name, pid in self._pids.items()}
        channel = sum(share for name, share in shares.items() if name.startswith("qc"))
        classical = sum(share for name, share in shares.items() if name.startswith("cc"))
        view = self.view
        return [
            f"{scale:g}",
            f"{watched_s / 60:.1f}",
            f"{view.clicks_hz / 1e6:.2f}",
            f"{view.sifted_hz / 1e6:.2f}",
            f"{self.secret_hz / 1e6:.2f}",
            f"{max(self.lags_s):.2f}",
            f"{self.lags_s[-1]:.2f}",
            str(self.discarded_count),
            *(f"{share:.0f}" for share in (channel, classical, *(shares[name] for name in NODES))),
            *(f"{self.pss[0][name]:.0f}, {self.pss[-1][name]:.0f}" for name in NODES),
        ]


async def sifting(watch_s: float) -> list[str]:
    """Return the row of sifting alone at scale 1."""
    async with Testbed.from_dict(topology(1.0)) as bed:
        for name in NODES:
            make_blocks_endless(bed.layout.config(name))
            await bed.node(name).restart()
            await bed.node(name).wait_healthy()
        await bed.wait_in_service()
        await asyncio.sleep(_SETTLE_S)
        watch = Watch(bed)
        await watch.begin()
        await watch.until(watch_s)
        return watch.row(1.0)


async def everything(scale: float) -> tuple[list[str], bool]:
    """Return the row of all that makes key at a scale, and whether it holds."""
    async with Testbed.from_dict(topology(scale)) as bed:
        await bed.wait_in_service()
        await asyncio.sleep(_SETTLE_S)
        watch = Watch(bed)
        await watch.begin()
        await watch.until(_PIPELINE_S)
        if watch.holds:
            await watch.until(_HELD_S)
        return watch.row(scale), watch.holds


async def until_one_holds(scales: list[float]) -> list[list[str]]:
    """Return the rows of all that makes key, at one scale after the other."""
    rows: list[list[str]] = []
    for scale in scales:
        row, holds = await everything(scale)
        rows.append(row)
        if holds:
            break
    return rows


def main() -> None:
    """Run both."""
    arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
    scales = [float(scale) for scale in arguments.get("scales", "1,0.8,0.6,0.4").split(",")]
    header = [
        "scale",
        "minutes",
        "Mclick/s",
        "sifted Z, Mb/s",
        "secret gross, Mb/s",
        "largest lag, s",
        "last lag, s",
        "discarded trains",
        "CPU %: quantum channel",
        "classical channel",
        *NODES,
        *(f"PSS of {name}" for name in NODES),
    ]
    alone = asyncio.run(sifting(60 * float(arguments.get("minutes", "10"))))
    publish("Real time, through sifting", COMMAND, table(header, [alone]))
    publish("Real time, everything", COMMAND, table(header, asyncio.run(until_one_holds(scales))))


if __name__ == "__main__":
    main()
