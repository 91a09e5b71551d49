"""A block that is not secure enters a key store only where the topology wants it."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from node.keys.records import BlockRole, BlockState
from node.keys.store import KeyStore, open_store
from node.link_state import LinkRecord
from node.qkd.block import BlockJob
from node.qkd.protocols import protocol_of
from node.qkd.sifting import RawBlock
from qnetem.v1 import parameters_pb2, process_pb2

SECRET = np.array([1, 0] * 64, dtype=np.uint8)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[KeyStore]:
    async with open_store(tmp_path / "keys.sqlite") as opened:
        yield opened


def job(store: KeyStore, protocol: str, journal: list[dict[str, Any]], *, gives: bool = False) -> BlockJob:
    """Return a block of a link; what its journal is told goes to `journal`."""
    config = process_pb2.NodeLinkConfig(
        link_id="a-b",
        peer_node="b",
        planned=parameters_pb2.LinkParameters(intensities=[0.4, 0.13]),
        protocol=parameters_pb2.ProtocolParameters(
            protocol=protocol, eps_sec=1e-10, eps_cor=1e-15, gives_insecure_keys=gives
        ),
    )
    spoken = protocol_of(config)
    counts = np.zeros(2, dtype=np.int64)
    raw = RawBlock(0, SECRET.repeat(4), np.zeros(512, dtype=np.uint8), counts, counts, counts)
    told = SimpleNamespace(write=lambda event, **fields: journal.append({"event": event, **fields}))
    node: Any = SimpleNamespace(store=store, process=SimpleNamespace(journal=told))
    record = LinkRecord("a-b", lambda: 0, lambda _: None)
    wire: Any = SimpleNamespace(authentication=None)
    return BlockJob(f"a-b/1.1.0{spoken.block_suffix}", raw, config, spoken, node, record, wire)


@pytest.mark.parametrize(
    ("protocol", "gives", "is_kept"),
    [("bb84-one-decoy", False, True), ("bb84-asymptotic", False, False), ("bb84-asymptotic", True, True)],
)
async def test_what_becomes_of_a_block(store: KeyStore, protocol: str, gives: bool, is_kept: bool) -> None:
    journal: list[dict[str, Any]] = []
    block = job(store, protocol, journal, gives=gives)
    await block.hold(SECRET, BlockRole.TRANSMITTER)
    await block.commit()
    await block.confirm()
    block.made(len(SECRET), 0.01)
    states = await store.block_states([block.block_id])
    assert states == ({block.block_id: BlockState.AVAILABLE} if is_kept else {})
    assert (await store.pool("b")).available_bits == (64 if is_kept else 0)
    is_secure = protocol == "bb84-one-decoy"
    assert (journal[0]["event"], journal[0]["is_secure"]) == ("key.block.made", is_secure)
    assert journal[0]["block_id"].endswith(".insecure") is not is_secure
    # what is proven of nothing bounds nothing
    assert block.record.epsilon_total == pytest.approx(1e-10 + 1e-15 if is_secure else 1.0)
    assert block.record.secret_bits_total == len(SECRET)


async def test_a_block_that_is_not_kept_is_given_up_without_a_trace(store: KeyStore) -> None:
    block = job(store, "bb84-asymptotic", [])
    await block.hold(SECRET, BlockRole.RECEIVER)
    await block.abort()
    assert await store.block_states([block.block_id]) == {}
