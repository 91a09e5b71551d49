"""bench.testbed: from `qnetem up` to healthy, in service and the first key; memory per node; rates at 25 km. Edge.

`python -m bench.testbed [--write] [--nodes 2,10,50,100]`
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.report import publish, table
from qnetem.topology.builders import ring

QNETEM = Path(sys.executable).parent / "qnetem"
ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m bench.testbed"


@contextmanager
def testbed(topology: dict[str, Any] | Path) -> Iterator["Bench"]:
    """A folder with a topology in it, and nothing running after the block."""
    with tempfile.TemporaryDirectory(prefix="qnetem-bench-") as folder:
        path = Path(folder) / "topology.yaml"
        path.write_text(
            topology.read_text() if isinstance(topology, Path) else yaml.safe_dump(topology, sort_keys=False)
        )
        bench = Bench(Path(folder))
        try:
            yield bench
        finally:
            bench.qnetem("down", check=False)


class Bench:
    """Runs qnetem in one folder."""

    def __init__(self, folder: Path) -> None:
        """Use the one topology of `folder`."""
        self.folder = folder

    def qnetem(self, *arguments: str, check: bool = True) -> str:
        """Run a command; return what it prints."""
        run = subprocess.run([str(QNETEM), *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if check and run.returncode:
            raise SystemExit(f"qnetem {' '.join(arguments)}: {run.stderr}")
        return run.stdout if run.returncode == 0 else ""

    def timed(self, *arguments: str) -> float:
        """Run a command; return its wall seconds."""
        start_s = time.monotonic()
        self.qnetem(*arguments)
        return time.monotonic() - start_s

    def inspect(self) -> dict[str, Any]:
        """Return what `inspect -f json` says."""
        told: dict[str, Any] = json.loads(self.qnetem("inspect", "-f", "json"))
        return told

    def wait_for_key(self) -> None:
        """Ask for a key until there is one."""
        while not self.qnetem("keys", "get", "app-1", "app-2", check=False):
            time.sleep(0.1)


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process, MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss of process {pid}")


def start_up(node_counts: list[int], placements: list[str]) -> str:
    """Measure start-up and memory of rings."""
    rows = []
    for placement in placements:
        for node_count in node_counts:
            topology = ring(node_count) | {"quantum_channel": {"placement": placement}}
            # the more links, the slower emulated time may pass for two cores to carry them all
            topology["time"] = {"scale": 1.0 if node_count <= 10 else 0.1}
            with testbed(topology) as bench:
                start_s = time.monotonic()
                bench.qnetem("up", "--no-wait")
                healthy_s = time.monotonic() - start_s
                bench.qnetem("up", "--wait", "--timeout", "300s")
                in_service_s = time.monotonic() - start_s
                processes = bench.inspect()["processes"]
                nodes = [pss_mb(p["pid"]) for p in processes if p["kind"] == "node"]
                rows.append(
                    [
                        str(node_count),
                        placement,
                        str(len(processes)),
                        f"{healthy_s:.1f}",
                        f"{in_service_s:.1f}",
                        f"{statistics.median(nodes):.1f}",
                        f"{topology['time']['scale']:g}",
                    ]
                )
    header = [
        "nodes (ring)",
        "quantum channels",
        "processes",
        "healthy, s",
        "in service, s",
        "PSS per node, MB",
        "scale",
    ]
    return table(header, rows)


def first_key() -> str:
    """Measure metro from `up` to the first key at a client."""
    figures = []
    for _ in range(3):
        with testbed(ROOT / "topologies" / "metro.yaml") as bench:
            start_s = time.monotonic()
            bench.qnetem("up", "--wait")
            in_service_s = time.monotonic() - start_s
            bench.wait_for_key()
            figures.append((in_service_s, time.monotonic() - start_s))
    rows = [[f"{in_service_s:.1f}", f"{key_s:.1f}"] for in_service_s, key_s in figures]
    return table(["metro in service, s", "first key, s"], rows)


def rates(seconds: float = 40.0) -> str:
    """Measure the rates of one link at 25 km, both profiles, against emulated time."""
    rows = []
    for profile, scale in (("decoy-bb84-1ghz-apd", 1.0), ("decoy-bb84-1ghz-snspd", 0.1)):
        topology = ring(2, profile=profile) | {"time": {"scale": scale}}
        with testbed(topology) as bench:
            bench.qnetem("up", "--wait")
            time.sleep(seconds)
            link = bench.inspect()["links"][0]
            rows.append(
                [
                    profile,
                    f"{scale:g}",
                    *(f"{link[name] / 1000:,.1f}" for name in ("clicks_hz", "sifted_hz", "secret_gross_hz")),
                    f"{100 * link['qber_prob']:.2f}",
                    f"{link['lag_s']:.2f}",
                    str(link["discarded_trains_count"]),
                ]
            )
    header = [
        "profile, 25 km",
        "scale",
        "clicks, k/s",
        "sifted Z, kb/s",
        "secret gross, kb/s",
        "QBER, %",
        "lag, s",
        "discarded trains",
    ]
    return table(header, rows)


def main() -> None:
    """Run all of it."""
    counts = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--nodes=")), "2,10,50,100")
    publish("Start-up", COMMAND, start_up([int(count) for count in counts.split(",")], ["link", "one"]))
    publish("First key", COMMAND, first_key())
    publish("Rates", COMMAND, rates())


if __name__ == "__main__":
    main()
