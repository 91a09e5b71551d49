"""Authentication on a testbed of real processes: what it costs, what a starved link does, and what brings it back."""

from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from testbed_lab import Lab, blocks_of, differences, running

from node.client import KeyAdminClient
from node.keys.records import PadsExhaustedError
from node.keys.store import open_store
from qnetem.runtime import identity, rpc
from qnetem.testbed.credentials import ADMIN
from qnetem.topology import ring
from qnetem.v1 import key_admin_pb2, link_session_pb2

pytestmark = pytest.mark.timeout(300)
LINK = "alice-bob"


@pytest.fixture
def pair() -> dict[str, Any]:
    """Two nodes whose blocks come two or three a second."""
    topology = ring(2, name="pair") | {"time": {"scale": 4}}
    topology["topology"] |= {
        "nodes": {"alice": {}, "bob": {}},
        "links": [{"endpoints": ["alice", "bob"], "protocol": {"block_ramp": ["100kbit"]}}],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    }
    return topology


async def spend_all(lab: Lab, node: str, peer: str) -> None:
    """Take every pad that a node has, of the store of a node that has ended."""
    key_path = lab.layout.storage_key(node)
    async with open_store(lab.layout.state(node) / "keys.sqlite", key_path=key_path) as store:
        for bits in (1 << 16, 1 << 12, 128):
            with suppress(PadsExhaustedError):
                while True:
                    await store.authentication.take_pad(peer, bits, LINK)


async def admins(lab: Lab, stack: AsyncExitStack) -> dict[str, KeyAdminClient]:
    found = {}
    credentials = rpc.Credentials.load(lab.layout.credentials("operator", ADMIN))
    for node in ("alice", "bob"):
        address = (await lab.process(node)).listeners.management
        target = identity.dns_name("pair", "node", node)
        found[node] = KeyAdminClient(await stack.enter_async_context(rpc.dial(address, credentials, target=target)))
    return found


def conserved(pool: key_admin_pb2.KeyPool) -> bool:
    sums = {field.name: value for field, value in pool.ListFields() if field.name.endswith("_bits")}
    return sums.pop("made_bits") == sum(sums.values())


async def test_a_link_pays_for_its_tags_starves_without_pads_and_is_brought_new_ones(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    async with running(tmp_path, pair) as lab, AsyncExitStack() as stack:
        await lab.in_service()

        async def paid() -> bool:
            return all(end.blocks_made_count >= 2 for end in (await lab.ends()).values())

        await lab.until(paid, "blocks at both ends")
        for end in (await lab.ends()).values():
            assert end.tags_bits_total == 384 * end.blocks_made_count
            assert 0 < end.secret_net_hz < end.secret_gross_hz
        for admin in (await admins(lab, stack)).values():
            [pool] = (await admin.status()).pools
            assert conserved(pool)
            assert (await admin.verify_audit()).fault == ""

        # a restart spends what was spent, and goes on
        await lab.act("STOP", "alice")
        await spend_all(lab, "alice", "bob")
        await lab.act("START", "alice")
        await lab.end_is("alice", LINK, link_session_pb2.LINK_STATE_DEGRADED, "auth-starved")
        await lab.end_is("bob", LINK, link_session_pb2.LINK_STATE_DEGRADED, "auth-starved")
        made = {name: end.blocks_made_count for name, end in (await lab.ends()).items()}
        assert made["alice", LINK] == 0

        # one end alone is not enough; both are
        clients = await admins(lab, stack)
        assert await clients["alice"].provision_link(LINK, 1, b"courier" * 1000)
        assert await clients["bob"].provision_link(LINK, 1, b"courier" * 1000)
        for client in clients.values():
            await client.provision_link(LINK, 1)
        await lab.in_service()
        await lab.collect("app-2", "app-1", await lab.new_key("app-1", "app-2"))
        await lab.collect("app-1", "app-2", await lab.new_key("app-2", "app-1"))
    assert lab.history.wrongs() == []
    assert differences(blocks_of(lab.layout, "alice"), blocks_of(lab.layout, "bob")) == []
