"""Blocks that are not secure are given only while the topology says so."""

from pathlib import Path

import pytest

from node.keys.records import BlockRole, BlockState, PoolExhaustedError
from node.keys.store import open_store
from node.qkd.withdrawal import withdraw_insecure
from qnetem.v1 import parameters_pb2, process_pb2


def link(link_id: str, *, gives: bool) -> process_pb2.NodeLinkConfig:
    protocol = parameters_pb2.ProtocolParameters(protocol="bb84-asymptotic", gives_insecure_keys=gives)
    return process_pb2.NodeLinkConfig(link_id=link_id, protocol=protocol)


async def test_what_a_topology_wants_no_more_is_taken_back_and_all_else_stays(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.sqlite") as store:
        held = {"study/1.1.0.insecure": "study", "other/1.1.0.insecure": "other", "a-b/1.1.0": "a-b"}
        for name, link_id in held.items():
            await store.prepare(name, link_id, f"peer-of-{link_id}", bytes(range(64)), 512, BlockRole.RECEIVER)
            await store.commit(name)
        await store.prepare("study/1.1.1.insecure", "study", "peer-of-study", bytes(64), 512, BlockRole.RECEIVER)
        links = [link("study", gives=False), link("other", gives=True)]
        withdrawn = await withdraw_insecure(store, links)
        assert [block.block_id for block in withdrawn] == ["study/1.1.0.insecure", "study/1.1.1.insecure"]
        states = await store.block_states(
            ["study/1.1.0.insecure", "study/1.1.1.insecure", "other/1.1.0.insecure", "a-b/1.1.0"]
        )
        assert list(states.values()) == [
            BlockState.QUARANTINED,
            BlockState.ABORTED,
            BlockState.AVAILABLE,
            BlockState.AVAILABLE,
        ]
        with pytest.raises(PoolExhaustedError):
            await store.reserve("app-1", [], "peer-of-study", 1, 128)
        assert len(await store.reserve("app-1", [], "peer-of-other", 1, 128)) == 1
        assert await withdraw_insecure(store, links) == []


async def test_what_was_relayed_stays_while_any_link_gives_such_keys(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.sqlite") as store:
        name = "relay/1.insecure"
        await store.prepare(name, "relay:far", "far", bytes(range(64)), 512, BlockRole.RECEIVER)
        await store.commit(name)
        assert await withdraw_insecure(store, [], has_insecure_hops=True) == []
        assert [block.block_id for block in await withdraw_insecure(store, [])] == [name]
