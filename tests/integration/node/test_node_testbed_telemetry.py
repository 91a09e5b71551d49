"""Telemetry of a testbed: what an operator reads from the broker, and that a dead one costs nothing."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from testbed_lab import Lab, running

from qnetem.topology import ring

pytestmark = pytest.mark.timeout(300)


async def read_until(lab: Lab, host: str, port: int, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Subscribe to everything as the operator until each wanted topic was seen; return the last message of each."""
    seen: dict[str, dict[str, Any]] = {}
    tls = ssl.create_default_context(cafile=str(lab.layout.authority))
    password = lab.layout.mqtt_password("operator").read_text().strip()
    async with (
        asyncio.timeout(60),
        aiomqtt.Client(host, port, username="operator", password=password, tls_context=tls) as client,
    ):
        await client.subscribe("qnetem/#")
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            seen[message.topic.value] = json.loads(message.payload)
            if wanted <= seen.keys():
                break
    return seen


async def broker_of(lab: Lab) -> tuple[str, int]:
    host, _, port = (await lab.process("broker")).listeners.mqtt.rpartition(":")
    return host, int(port)


async def test_an_operator_reads_links_and_pools_and_a_dead_broker_slows_nobody(tmp_path: Path) -> None:
    topology = ring(2, name="pair") | {"time": {"scale": 4}}
    topology["topology"]["links"][0]["protocol"] = {"block_ramp": ["100kbit"]}
    async with running(tmp_path, topology) as lab:
        await lab.in_service()
        await lab.new_key("app-1", "app-2")
        host, port = await broker_of(lab)
        wanted = {f"qnetem/pair/{node}/link/n0-n1/metrics" for node in ("n0", "n1")}
        wanted.add("qnetem/pair/n0/pool/n1/metrics")
        seen = await read_until(lab, host, port, wanted)
        for topic in wanted - {"qnetem/pair/n0/pool/n1/metrics"}:
            assert seen[topic]["state"] == "OPERATING"
            assert 0.005 < seen[topic]["qber_prob"] < 0.04
        assert seen["qnetem/pair/n0/pool/n1/metrics"]["available_bits"] > 0

        await lab.act("STOP", "broker")
        made = (await lab.ends())["n0", "n0-n1"].blocks_made_count

        async def more() -> bool:
            return (await lab.ends())["n0", "n0-n1"].blocks_made_count >= made + 3

        await lab.until(more, "blocks without a broker")
        await lab.act("START", "broker")
        await lab.healthy_again("broker", -1)
        await read_until(lab, host, port, wanted)
