"""bench.realtime: does a 1 GHz link of 50 km with superconducting detectors keep up with the clock on the wall? Edge.

`python -m bench.realtime [--write] [--minutes=10] [--scales=1,0.8,0.6,0.4]`: sifting alone for so long at scale 1
(blocks too large to come to an end in that time), then with everything that makes key, at one scale after the other.
"""

import asyncio
import sys
import time
from typing import Any

from bench.report import publish, table
from qnetem import Testbed
from qnetem.topology import quantities

COMMAND = "python -m bench.realtime"
LINK = "alice-bob"
_PIPELINE_S = 60.0
_READ_S = 2.0


def topology(scale: float, block_ramp: list[str]) -> dict[str, Any]:
    """Return two nodes and a link whose pool never fills."""
    return {
        "apiVersion": "qnetem/v1",
        "name": "realtime",
        "seed": 1,
        "time": {"scale": scale},
        "telemetry": {"broker": "none"},
        "topology": {
            "defaults": {"profile": "decoy-bb84-1ghz-snspd", "protocol": {"pool_high_water": "1000Gbit"}},
            "nodes": {"alice": {}, "bob": {}},
            "links": [
                {
                    "endpoints": ["alice", "bob"],
                    "quantum": {"length": "50km"},
                    "protocol": {"block_ramp": block_ramp},
                }
            ],
        },
    }


async def watched(scale: float, block_ramp: list[str], watch_s: float) -> list[str]:
    """Return a row: how a link fares for so many seconds of the wall."""
    async with Testbed.from_dict(topology(scale, block_ramp)) as bed:
        await bed.wait_in_service()
        start_s = time.monotonic()
        lags: list[float] = []
        while time.monotonic() - start_s < watch_s:
            await asyncio.sleep(_READ_S)
            view = (await bed.links())[LINK]
            lags.append(view.lag_s)
    return [
        f"{scale:g}",
        f"{watch_s / 60:g}",
        f"{view.clicks_hz / 1e6:.2f}",
        f"{view.sifted_hz / 1e6:.2f}",
        f"{view.secret_gross_hz / 1e6:.2f}",
        f"{max(lags):.2f}",
        f"{lags[-1]:.2f}",
        str(view.discarded_trains_count),
    ]


async def measure(minutes: float, scales: list[float]) -> tuple[list[str], list[list[str]]]:
    """Return the row of sifting alone, and those of the whole, until one holds."""
    # larger than a topology may ask for: no block comes to an end, and sifting is all there is
    object.__setattr__(quantities.BLOCK, "maximum", 4e9)
    sifting = await watched(1.0, ["4Gbit"], 60 * minutes)
    rows: list[list[str]] = []
    for scale in scales:
        rows.append(await watched(scale, ["100kbit", "1Mbit"], _PIPELINE_S))
        if rows[-1][-1] == "0" and float(rows[-1][-2]) < 1.0:
            break
    return sifting, rows


def main() -> None:
    """Run both."""
    arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
    scales = [float(scale) for scale in arguments.get("scales", "1,0.8,0.6,0.4").split(",")]
    sifting, rows = asyncio.run(measure(float(arguments.get("minutes", "10")), scales))
    header = [
        "scale",
        "minutes",
        "Mclick/s",
        "sifted Z, Mb/s",
        "secret gross, Mb/s",
        "largest lag, s",
        "last lag, s",
        "discarded trains",
    ]
    publish("Real time, through sifting", COMMAND, table(header, [sifting]))
    publish("Real time, everything", COMMAND, table(header, rows))


if __name__ == "__main__":
    main()
