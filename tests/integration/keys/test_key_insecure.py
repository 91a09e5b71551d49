"""Keys of a protocol for study (insecure_keys: give) are marked at every end, whatever way they go; others are not."""

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from node.key_admin import KeyAdminServicer
from node.keys.policy import KeyMode, Policies, Policy
from node.keys.records import BlockRole
from node.link_state import LinkRecord
from node.qkd.block import BlockJob
from node.qkd.protocols import protocol_of
from qnetem.v1 import key_admin_pb2
from qnetem.v1.parameters_pb2 import ProtocolParameters
from qnetem.v1.process_pb2 import NodeLinkConfig

MARK = {"qnetem_insecure": True}
STUDY = ".insecure"
HOPS = [frozenset(("bob", "carol"))]


async def marks(kmes: Any, master: str, slave: str, **body: Any) -> list[Any]:
    """Make a key and collect it; return what either answer says of it beside its id and value."""
    at, there = kmes["alice"], next(one for one in kmes.kmes.values() if one.directory.places[slave] == one.name)
    async with kmes.sae(master).post(kmes.url(at.name, f"/api/v1/keys/{slave}/enc_keys"), json=body) as response:
        made = (await response.json())["keys"][0]
        assert response.status == 200
    url = kmes.url(there.name, f"/api/v1/keys/{master}/dec_keys?key_ID={made['key_ID']}")
    async with kmes.sae(slave).get(url) as response:
        [had] = (await response.json())["keys"]
    assert (made["key_ID"], made["key"]) == (had["key_ID"], had["key"])
    assert set(made) == set(had) <= {"key_ID", "key", "key_extension"}
    return [made.get("key_extension"), had.get("key_extension")]


async def pool_marks(kmes: Any, node: str) -> dict[str, bool]:
    """Return what `keys status` says of the pools of a node."""
    status = await KeyAdminServicer(kmes[node].store, {}).GetKeyStatus(key_admin_pb2.GetKeyStatusRequest(), None)
    return {pool.peer_node: pool.is_insecure for pool in status.pools}


async def test_a_key_of_a_link_is_marked_when_any_of_its_bits_are_for_study(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", 1024)  # two keys of 256 bits for alice
        assert await marks(kmes, "app-1", "app-2") == [None, None]
        assert await pool_marks(kmes, "alice") == {"bob": False}
        await kmes.add_block("alice", "bob", 1024, STUDY)
        assert await pool_marks(kmes, "alice") == {"bob": True}
        assert await pool_marks(kmes, "bob") == {"alice": True}
        # half of it of either block
        assert await marks(kmes, "app-1", "app-2", size=512) == [MARK, MARK]
        assert await marks(kmes, "app-1", "app-2") == [MARK, MARK]
        trail = (kmes.folder / "bob" / "keys.audit.jsonl").read_text().splitlines()
        told = [json.loads(line).get("is_insecure", False) for line in trail if '"key.delivered"' in line]
        assert told == [False, True, True]


async def test_a_relayed_key_is_marked_when_a_hop_is_for_study(open_kmes: Any) -> None:
    async with open_kmes(insecure_hops=HOPS) as kmes:
        kmes.install("alice bob carol")
        await kmes.add_block("alice", "bob")
        await kmes.add_block("bob", "carol", suffix=STUDY)
        assert await marks(kmes, "app-1", "app-3") == [MARK, MARK]
        # the mark outlives a pool that was relayed ahead, at both ends
        await kmes["alice"].relaying.relay.fill("carol", 1024)
        assert (await pool_marks(kmes, "alice"), await pool_marks(kmes, "carol")) == (
            {"bob": False, "carol": True},
            {"bob": True, "alice": True},
        )
        assert await marks(kmes, "app-1", "app-3") == [MARK, MARK]
        assert await marks(kmes, "app-1", "app-2") == [None, None]


@pytest.mark.parametrize(("hops", "marked"), [([HOPS[0]], False), ([HOPS[0], frozenset(("alice", "dave"))], True)])
async def test_one_share_over_sound_hops_is_enough(open_kmes: Any, hops: list[frozenset[str]], marked: bool) -> None:
    square = {"alice": {"bob", "dave"}, "bob": {"alice", "carol"}, "carol": {"bob", "dave"}, "dave": {"alice", "carol"}}
    async with open_kmes(neighbourhoods=square, share_count=2, insecure_hops=hops) as kmes:
        kmes.install("alice bob carol", "alice dave carol")
        for hop in ("alice bob", "bob carol", "alice dave", "dave carol"):
            await kmes.add_block(*hop.split())
        assert await marks(kmes, "app-1", "app-3") == [MARK if marked else None] * 2


async def test_a_hybrid_key_says_both(open_kmes: Any) -> None:
    policies = Policies([(frozenset(("app-1", "app-2")), Policy(mode=KeyMode.HYBRID))])
    async with open_kmes(policies=policies) as kmes:
        await kmes.add_block("alice", "bob", suffix=STUDY)
        assert await marks(kmes, "app-1", "app-2") == [MARK | {"qnetem_key_mode": "hybrid"}] * 2


async def test_the_metadata_of_a_stream_says_it_too(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", suffix=STUDY)
        asked = {"Source": "app-1", "Destination": "app-2", "QoS": {"Metadata_mimetype": "application/json"}}

        async def call(app: str, node: str, verb: str, **body: Any) -> dict[str, Any]:
            async with kmes.sae(app).post(kmes.url(node, f"/etsi004/v2/{verb}"), json=body) as response:
                answer: dict[str, Any] = await response.json()
                return answer

        stream = (await call("app-1", "alice", "open_connect", **asked))["Key_stream_ID"]
        await call("app-2", "bob", "open_connect", **asked, Key_stream_ID=stream)
        for app, node in (("app-1", "alice"), ("app-2", "bob")):
            chunk = await call(app, node, "get_key", Key_stream_ID=stream, Metadata_size=200)
            assert json.loads(chunk["Metadata"]["Metadata_buffer"])["qnetem_insecure"] is True


@pytest.mark.parametrize(("gives", "status"), [(True, 200), (False, 503)])
async def test_what_a_link_makes_of_such_a_block_is_what_its_topology_wants(
    open_kmes: Any, gives: bool, status: int
) -> None:
    """From the end of a session to the SAEs, by the code of the nodes: kept, given and marked, or forgotten."""
    bits = np.random.default_rng(5).integers(0, 2, 1024, dtype=np.uint8)
    async with open_kmes() as kmes:
        jobs = {}
        for node, peer in (("bob", "alice"), ("alice", "bob")):
            study = ProtocolParameters(protocol="bb84-asymptotic", gives_insecure_keys=gives)
            config = NodeLinkConfig(link_id="alice-bob", peer_node=peer, protocol=study)
            config.planned.intensities.extend([0.4, 0.13])
            spoken = protocol_of(config)
            context: Any = SimpleNamespace(store=kmes[node].store)
            block_id = f"alice-bob/1.1.0{spoken.block_suffix}"
            raw: Any = SimpleNamespace()
            record = LinkRecord("alice-bob", lambda: 0, lambda _: None)
            jobs[node] = BlockJob(block_id, raw, config, spoken, context, record, cast(Any, None))
        await jobs["bob"].hold(bits, BlockRole.RECEIVER)
        await jobs["alice"].hold(bits, BlockRole.TRANSMITTER)
        await jobs["alice"].commit()
        await jobs["bob"].commit()
        await jobs["alice"].confirm()
        async with kmes.sae("app-1").post(kmes.url("alice", "/api/v1/keys/app-2/enc_keys"), json={}) as response:
            assert response.status == status
        if gives:
            assert await marks(kmes, "app-1", "app-2") == [MARK, MARK]
        assert await pool_marks(kmes, "alice") == ({"bob": True} if gives else {})
