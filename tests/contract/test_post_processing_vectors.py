"""Post-processing against vectors that a scalar reading of link_session.proto made: what both ends must agree on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.qkd import bits as packed
from node.qkd.amplification import toeplitz_hash
from node.qkd.authentication import LinkSecrets
from node.qkd.reconciliation import CascadeTransmitter, ParityQueries
from node.qkd.reconciliation_layout import ORDERED_PASSES, Layout
from node.qkd.transcript import Ghash, Transcript
from node.qkd.verification import polynomial_hash
from qnetem.v1 import link_session_pb2

VECTORS = json.loads((Path(__file__).parent / "post-processing-vectors.json").read_text())


def labelled(label: str, bit_count: int) -> packed.Bits:
    octets = np.frombuffer(hashlib.shake_128(label.encode()).digest((bit_count + 7) // 8), np.uint8)
    return np.unpackbits(octets, count=bit_count, bitorder="little")


@pytest.mark.parametrize("vector", VECTORS["packing"])
def test_bits_pack_as_in_the_vectors(vector: dict[str, Any]) -> None:
    assert packed.pack(np.array(vector["bits"], dtype=np.uint8)).hex() == vector["bytes"]


@pytest.mark.parametrize("vector", VECTORS["orders"], ids=lambda vector: vector["bit_count"])
def test_frames_and_orders_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    layout = Layout(vector["bit_count"], int(vector["permutation_seed"]))
    assert (layout.frame_count, layout.row_count) == (vector["frame_count"], vector["row_count"])
    for number, rows in vector["first_rows"].items():
        is_ordered = int(number) < ORDERED_PASSES
        order = layout.orders[int(number)] if is_ordered else layout.check_order(int(number) - ORDERED_PASSES)
        assert order[: len(rows)].tolist() == rows


@pytest.mark.parametrize("vector", VECTORS["parities"], ids=lambda vector: vector["bit_count"])
def test_parities_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    bits = labelled(vector["bits_label"], vector["bit_count"])
    passes, starts, lengths, parities = np.array(vector["queries"]).T
    queries = ParityQueries(passes.astype(np.uint8), starts.astype(np.uint32), lengths.astype(np.uint32))
    transmitter = CascadeTransmitter(bits, int(vector["permutation_seed"]))
    assert transmitter.answer(queries).tolist() == parities.tolist()


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=lambda vector: vector["bit_count"])
def test_hashes_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    bits = labelled(vector["bits_label"], vector["bit_count"])
    assert polynomial_hash(bits, bytes.fromhex(vector["key"])).hex() == vector["hash"]


@pytest.mark.parametrize("vector", VECTORS["toeplitz"], ids=lambda vector: vector["bit_count"])
def test_amplified_bits_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    bits = labelled(vector["bits_label"], vector["bit_count"])
    seed = labelled(vector["seed_label"], vector["bit_count"] + vector["secret_bits"] - 1)
    assert packed.pack(toeplitz_hash(bits, seed, vector["secret_bits"])).hex() == vector["secret"]


@pytest.mark.parametrize("vector", VECTORS["ghash"], ids=lambda vector: vector["size_bytes"])
def test_transcripts_are_hashed_as_in_the_vectors(vector: dict[str, Any]) -> None:
    state = Ghash(bytes.fromhex(vector["key"]))
    state.add(hashlib.shake_128(vector["data_label"].encode()).digest(vector["size_bytes"]))
    assert state.value().hex() == vector["hash"]


@pytest.mark.parametrize("vector", VECTORS["link_secrets"], ids=lambda vector: vector["secret"])
def test_a_link_secret_gives_the_keys_and_the_preshared_bits_of_the_vectors(vector: dict[str, Any]) -> None:
    secrets = LinkSecrets.of(bytes.fromhex(vector["secret"]))
    assert (secrets.transmitter_key.hex(), secrets.receiver_key.hex()) == (
        vector["transmitter_key"],
        vector["receiver_key"],
    )
    assert hashlib.sha256(secrets.preshared).hexdigest() == vector["preshared_sha256"]


@pytest.mark.parametrize("vector", VECTORS["transcripts"], ids=lambda vector: vector["block_id"])
def test_what_is_said_counts_as_in_the_vectors(vector: dict[str, Any]) -> None:
    transcript = Transcript(bytes.fromhex(vector["key"]))
    for said in vector["said"]:
        transcript.see(link_session_pb2.SessionRequest.FromString(bytes.fromhex(said)))
    hashes = transcript.close(vector["block_id"])
    assert hashes is not None
    assert (hashes.stream.hex(), hashes.block.hex()) == (vector["stream"], vector["block"])


@pytest.mark.parametrize("vector", VECTORS["alone"], ids=lambda vector: vector["hash"])
def test_what_is_said_of_blocks_has_a_hash_of_its_own_as_in_the_vectors(vector: dict[str, Any]) -> None:
    transcript = Transcript(bytes.fromhex(vector["key"]))
    transcript.name_session(vector["incarnation"], vector["session_counter"])
    message = link_session_pb2.SessionRequest.FromString(bytes.fromhex(vector["said"]))
    assert message.WhichOneof("event") in ("block_decision", "settlement")
    message.tags.alone = b"does not count"
    assert transcript.alone(message).hex() == vector["hash"]
