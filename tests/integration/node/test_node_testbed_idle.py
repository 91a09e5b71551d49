"""A link whose pool is full makes no key and goes on watching itself: clock, darkness, a delay that comes slowly."""

from pathlib import Path
from typing import Any

import pytest
from testbed_lab import Lab, running

from qnetem.topology import ring
from qnetem.v1 import link_session_pb2, node_pb2, parameters_pb2

pytestmark = pytest.mark.timeout(300)

LINK = "n0-n1"
DOWN = link_session_pb2.LINK_STATE_DOWN
S = 10**12
SKEW_PS_PER_S = 20_000.0


async def ends_when(lab: Lab, condition: Any, what: str) -> dict[str, node_pb2.NodeLinkStatus]:
    """Return both ends, once they are as asked."""

    async def there() -> dict[str, node_pb2.NodeLinkStatus] | None:
        ends = {node: end for (node, _), end in (await lab.ends()).items()}
        return ends if len(ends) == 2 and condition(ends) else None

    found: dict[str, node_pb2.NodeLinkStatus] = await lab.until(there, what)
    return found


async def test_an_idle_link_is_followed_and_watched(tmp_path: Path) -> None:
    topology = ring(2, name="idle") | {"time": {"scale": 4}}
    topology["topology"]["defaults"] = {"profile": "decoy-bb84-1ghz-apd"}
    link = topology["topology"]["links"][0]
    link["protocol"] = {"block_ramp": ["100kbit"], "pool_high_water": "16kbit"}
    link["quantum"] = {"length": "25km", "clock_skew": "20ppb", "clock_white": "1ps/sqrt(s)", "sync_noise": "20ps"}

    def idles(ends: dict[str, node_pb2.NodeLinkStatus]) -> bool:
        return ends["n0"].is_idle

    async with running(tmp_path, topology) as lab:
        await lab.in_service()
        offset_ps = (await ends_when(lab, idles, "the pool is full"))["n1"].clock_offset_ps

        def runs(seconds: float) -> Any:
            return lambda ends: ends["n1"].clock_offset_ps > offset_ps + seconds * SKEW_PS_PER_S

        # no bit is sifted any more, while the clock runs away by 400 slots and is followed
        after = await ends_when(lab, runs(20.0), "the clock is followed")
        assert after["n0"].is_idle
        assert after["n0"].sifted_hz == after["n1"].sifted_hz == 0.0
        assert after["n0"].clicks_hz > 0.0
        assert after["n1"].is_clock_locked
        for settings, ramp_s, reason in (
            ({"is_up": False}, 0.0, "no-light"),
            ({"misalignment_prob": 0.3}, 0.0, "qber"),
            # in steps from transfer to transfer as small as a fibre that warms: only the whole of it tells
            ({"eve_delay_ps": 3000.0}, 60.0, "round-trip"),
        ):
            await lab.client.set_link(LINK, parameters_pb2.LinkSettings(**settings), ramp_s=ramp_s)
            for node in ("n0", "n1"):
                await lab.end_is(node, LINK, DOWN, reason)
            await lab.client.reset_link(LINK, [*settings])
            await lab.in_service()
            await ends_when(lab, idles, "the pool is still full")
