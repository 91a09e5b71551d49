"""bench.containers: testbeds of containers: seconds to healthy, memory per node, size of the image. Edge.

`python -m bench.containers [--write] [--nodes 3,10,20]`; needs Docker, and the image (docs/containers.md).
"""

import json
import statistics
import subprocess
import sys
import time

from bench.report import publish, table
from bench.testbed import testbed
from qnetem.testbed.containers.engine import image_name
from qnetem.topology.builders import ring

COMMAND = "python -m bench.containers"
BASE = "python:3.11-slim-bookworm"


def docker(*arguments: str) -> str:
    """Run docker; return what it prints."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def size_mb(image: str) -> float:
    """Return the size of an image, MB."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def memory_mb(pid: int) -> float:
    """Return what the cgroup of a container's first process uses, MB, without its page cache."""
    container = docker("ps", "-q", "--no-trunc").split()
    for one in container:
        if docker("inspect", "--format", "{{.State.Pid}}", one).strip() == str(pid):
            told = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", one))["MemUsage"].split("/")[0]
            value = float(told.strip().rstrip("KMGiB"))
            return value * {"K": 1 / 1024, "M": 1.0, "G": 1024.0}[told.strip().lstrip("0123456789.")[0]]
    raise RuntimeError(f"no container of process {pid}")


def start_up(node_counts: list[int]) -> str:
    """Measure rings with one quantum channel."""
    rows = []
    for count in node_counts:
        topology = ring(count) | {"quantum_channel": {"placement": "one"}, "time": {"scale": 0.2}}
        with testbed(topology) as bench:
            start_s = time.monotonic()
            bench.qnetem("up", "--runtime", "compose", "--no-wait", "--timeout", "300s")
            healthy_s = time.monotonic() - start_s
            bench.qnetem("up", "--wait", "--timeout", "300s")
            in_service_s = time.monotonic() - start_s
            processes = bench.inspect()["processes"]
            nodes = [memory_mb(one["pid"]) for one in processes if one["kind"] == "node"][:5]
            down_s = bench.timed("down")
        rows.append(
            [
                str(count),
                str(len(processes)),
                f"{healthy_s:.1f}",
                f"{in_service_s:.1f}",
                f"{statistics.median(nodes):.0f}",
                f"{down_s:.1f}",
            ]
        )
    return table(["nodes (ring)", "containers", "healthy, s", "in service, s", "memory per node, MB", "down, s"], rows)


def main() -> None:
    """Measure, print, and with --write keep."""
    counts = [3, 10, 20]
    if "--nodes" in sys.argv:
        counts = [int(text) for text in sys.argv[sys.argv.index("--nodes") + 1].split(",")]
    image, base = size_mb(image_name()), size_mb(BASE)
    sizes = f"Image: {image:.0f} MB, {image - base:.0f} MB of it over {BASE}."
    publish("Containers", COMMAND, f"{start_up(counts)}\n\n{sizes}")


if __name__ == "__main__":
    main()
