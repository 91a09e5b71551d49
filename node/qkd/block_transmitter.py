"""node.qkd.block_transmitter: a key block's post-processing at the transmitter, which coordinates it. Edge."""

import asyncio
from typing import Final

import numpy as np

from node.keys.records import BlockRole, PadsExhaustedError
from node.qkd import bits as packed
from node.qkd.amplification import toeplitz_hash
from node.qkd.authentication import AUTH_STARVED
from node.qkd.block import COMMITTED_TRANSMITTER, PREPARED_TRANSMITTER, BlockJob, shortened
from node.qkd.errors import SessionRefusedError
from node.qkd.estimation import KeyEstimate
from node.qkd.protocols import BlockCounts
from node.qkd.reconciliation import CascadeTransmitter, ParityQueries
from node.qkd.verification import HASH_BITS, polynomial_hash
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import StorageError
from qnetem.v1 import link_session_pb2

__all__ = ["transmit_block"]

_SEED_BYTES: Final = 8
# fewer fill no byte of each half
_LEAST_SECRET_BITS: Final = 32


async def transmit_block(job: BlockJob, qber_estimate_prob: float) -> int:
    """Take a sifted block to AVAILABLE at both ends, or drop it at both.

    Args:
        job: The block.
        qber_estimate_prob: Public estimate that fixes the block sizes of Cascade.

    Returns:
        The secret bits it makes; 0 when it was dropped.
    """
    raw, wire, block_id = job.raw, job.wire, job.block_id
    entropy = job.node.entropy
    seed = int.from_bytes(entropy.draw(f"{block_id}/permutation", _SEED_BYTES), "little")
    await wire.send(
        block_start=link_session_pb2.BlockStart(
            block_id=block_id,
            sifted_bits=len(raw.z_bits),
            permutation_seed=seed,
            qber_estimate_prob=qber_estimate_prob,
        )
    )
    cascade = await asyncio.to_thread(CascadeTransmitter, raw.z_bits, seed)
    corrected = await _answer_parities(job, cascade)
    qber_prob = sum(corrected.error_counts) / len(raw.z_bits)
    # what was said in the clear: every parity, and the hash, whose tag is not padded while tags are not paid for
    leaked_bits = cascade.disclosed_count + HASH_BITS
    estimate = _estimate(job, corrected, leaked_bits)
    if estimate.secret_bits < _LEAST_SECRET_BITS:
        reason = estimate.reason or "leak"
        await wire.send(block_seed=link_session_pb2.BlockSeed(block_id=block_id, reason=reason))
        job.dropped(reason, qber_prob)
        return 0

    hash_key = entropy.draw(f"{block_id}/hash", HASH_BITS // 8)
    tag = await asyncio.to_thread(polynomial_hash, raw.z_bits, hash_key)
    seed_bits = len(raw.z_bits) + estimate.secret_bits - 1
    toeplitz_seed = _random_bits(entropy.draw(f"{block_id}/toeplitz", (seed_bits + 7) // 8), seed_bits)
    secret = await asyncio.to_thread(toeplitz_hash, raw.z_bits, toeplitz_seed, estimate.secret_bits)
    try:
        await job.hold(secret, BlockRole.TRANSMITTER)
    except StorageError as error:
        await wire.send(block_seed=link_session_pb2.BlockSeed(block_id=block_id, reason="storage"))
        job.node.process.log.error("key.block.not.stored", block_id=block_id, detail=str(error))
        job.dropped("storage", qber_prob)
        return 0
    crashpoint.reach(PREPARED_TRANSMITTER)
    try:
        await job.send_tagged(
            block_seed=link_session_pb2.BlockSeed(
                block_id=block_id,
                hash_key=hash_key,
                hash=tag,
                secret_bits=estimate.secret_bits,
                toeplitz_seed=packed.pack(toeplitz_seed),
            )
        )
    except PadsExhaustedError:
        await job.abort()
        await wire.send(block_seed=link_session_pb2.BlockSeed(block_id=block_id, reason=AUTH_STARVED))
        job.dropped(AUTH_STARVED, qber_prob)
        return 0
    prepared: link_session_pb2.BlockPrepared = await job.expect_tagged(
        "block_prepared", lambda prepared: bool(prepared.is_prepared)
    )
    if not prepared.is_prepared:
        await job.abort()
        reason = shortened(prepared.reason)
        await wire.send(
            block_decision=link_session_pb2.BlockDecision(block_id=block_id, is_commit=False, reason=reason)
        )
        job.dropped(reason, qber_prob)
        return 0
    await job.commit()
    crashpoint.reach(COMMITTED_TRANSMITTER)
    job.made(estimate.secret_bits, qber_prob)
    await job.send_decided(block_decision=link_session_pb2.BlockDecision(block_id=block_id, is_commit=True))
    await job.expect_decided("block_committed")
    await job.confirm()
    return estimate.secret_bits


async def _answer_parities(job: BlockJob, cascade: CascadeTransmitter) -> link_session_pb2.BlockCorrected:
    while True:
        message = await job.next_message()
        if message.WhichOneof("event") == "block_corrected":
            corrected: link_session_pb2.BlockCorrected = message.block_corrected
            return corrected
        if message.WhichOneof("event") != "parity_query":
            raise SessionRefusedError(f"block {job.block_id}: {message.WhichOneof('event')} instead of parity_query")
        query = message.parity_query
        queries = ParityQueries(
            np.frombuffer(query.passes, np.uint8),
            np.frombuffer(query.starts, "<u4"),
            np.frombuffer(query.lengths, "<u4"),
        )
        parities = cascade.answer(queries) if queries.is_light else await asyncio.to_thread(cascade.answer, queries)
        await job.wire.send(
            parity_answer=link_session_pb2.ParityAnswer(block_id=job.block_id, parities=packed.pack(parities))
        )


def _estimate(job: BlockJob, corrected: link_session_pb2.BlockCorrected, leaked_bits: int) -> KeyEstimate:
    planned, agreed, raw = job.config.planned, job.config.protocol, job.raw
    z_errors, x_errors = (
        np.array(counts, dtype=np.int64) for counts in (corrected.error_counts, corrected.x_error_counts)
    )
    return job.protocol.key_estimate(
        BlockCounts(raw.z_counts, z_errors, raw.x_counts, x_errors),
        intensities=tuple(planned.intensities),
        intensity_probs=tuple(planned.intensity_probs),
        eps_sec=agreed.eps_sec,
        eps_cor=agreed.eps_cor,
        leaked_bits=leaked_bits,
    )


def _random_bits(data: bytes, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
