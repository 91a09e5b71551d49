"""bench.scale: how start-up, memory and CPU grow with the network: rings of many nodes, and SURFnet. Edge.

`python -m bench.scale [--write] [--nodes=10,50,100,200] [--scale=0.1]`
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from bench.report import publish, table
from bench.testbed import ROOT, pss_mb, testbed
from qnetem.topology.builders import ring

COMMAND = "python -m bench.scale"
_WATCH_S = 30.0
_FULL_SCALE_NODES = 100
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def measure(topology: dict[str, Any]) -> list[str]:
    """Bring a network up, let it make keys, and return its row."""
    with testbed(topology) as bench:
        start_s = time.monotonic()
        bench.qnetem("up", "--no-wait", "--timeout", "300s")
        healthy_s = time.monotonic() - start_s
        bench.qnetem("up", "--wait", "--timeout", "600s")
        in_service_s = time.monotonic() - start_s
        processes = bench.inspect()["processes"]
        before = {p["pid"]: cpu_s(p["pid"]) for p in processes}
        watched_s = time.monotonic()
        time.sleep(_WATCH_S)
        told = bench.inspect()
        watched_s = time.monotonic() - watched_s
        used = {p["pid"]: cpu_s(p["pid"]) - before[p["pid"]] for p in processes}
        links = told["links"]
        kinds = {kind: [p["pid"] for p in processes if p["kind"] == kind] for kind in ("node", "quantum-channel")}
        memory = {kind: [pss_mb(pid) for pid in pids] for kind, pids in kinds.items()}
        total_mb = sum(pss_mb(p["pid"]) for p in processes)
        return [
            str(len(kinds["node"])),
            str(len(links)),
            str(len(processes)),
            f"{healthy_s:.1f}",
            f"{in_service_s:.1f}",
            str(sum(link["state"] == "OPERATING" for link in links)),
            f"{sum(memory['node']) / len(memory['node']):.1f}",
            f"{total_mb:.0f}",
            f"{100 * sum(used.values()) / watched_s:.0f}",
            f"{1000 * sum(used.values()) / watched_s / len(links):.1f}",
            f"{max(link['lag_s'] for link in links):.2f}",
            str(sum(link["discarded_trains_count"] for link in links)),
        ]


def main() -> None:
    """Run all of it."""
    arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
    scale = float(arguments.get("scale", "0.1"))
    rows = []
    for node_count in (int(n) for n in arguments.get("nodes", "10,50,100,200").split(",")):
        # more links than two cores carry at that scale
        slower = scale if node_count <= _FULL_SCALE_NODES else scale / 4
        topology = ring(node_count) | {"time": {"scale": slower}, "quantum_channel": {"placement": "group"}}
        rows.append([f"ring of {node_count}", f"{slower:g}", *measure(topology)])
        print(rows[-1], flush=True)
    surfnet = yaml.safe_load((ROOT / "topologies" / "surfnet.yaml").read_text())
    rows.append(["SURFnet", f"{scale:g}", *measure(surfnet | {"time": {"scale": scale}})])
    header = [
        "network",
        "scale",
        "nodes",
        "links",
        "processes",
        "healthy, s",
        "in service, s",
        "operating after 30 s",
        "PSS a node, MB",
        "PSS in all, MB",
        "CPU, % of one core",
        "CPU a link, ms/s",
        "lag, s",
        "discarded trains",
    ]
    publish("Scale", f"{COMMAND} --scale={scale:g}", table(header, rows))


if __name__ == "__main__":
    main()
