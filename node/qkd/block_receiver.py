"""node.qkd.block_receiver: a key block's post-processing at the receiver, whose bits are corrected. Edge."""

import asyncio
import hmac

import numpy as np

from node.keys.records import BlockRole, PadsExhaustedError
from node.qkd import bits as packed
from node.qkd.amplification import toeplitz_hash
from node.qkd.authentication import AUTH_STARVED
from node.qkd.block import COMMITTED_RECEIVER, PREPARED_RECEIVER, BlockJob, shortened
from node.qkd.errors import SessionRefusedError
from node.qkd.reconciliation import CascadeReceiver, ParityQueries
from node.qkd.verification import polynomial_hash
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import StorageError
from qnetem.v1 import link_session_pb2

__all__ = ["receive_block"]


async def receive_block(job: BlockJob, start: link_session_pb2.BlockStart) -> None:
    """Correct the sifted block, verify it, and take it to AVAILABLE when the transmitter decides so."""
    raw, wire, block_id = job.raw, job.wire, job.block_id
    if start.sifted_bits != len(raw.z_bits):
        raise SessionRefusedError(f"block {block_id}: {start.sifted_bits} sifted bits there, {len(raw.z_bits)} here")
    cascade = await asyncio.to_thread(CascadeReceiver, raw.z_bits, start.permutation_seed, start.qber_estimate_prob)
    await _correct(job, cascade)
    bits, errors = await asyncio.to_thread(_corrected, job, cascade)
    job.error_count = sum(errors)
    qber_prob = job.error_count / len(raw.z_bits)
    await wire.send(
        block_corrected=link_session_pb2.BlockCorrected(
            block_id=block_id,
            disclosed_bits=cascade.disclosed_count,
            error_counts=errors,
            x_error_counts=raw.x_error_counts.tolist(),
        )
    )
    seed: link_session_pb2.BlockSeed = await job.expect_tagged("block_seed", lambda seed: bool(seed.secret_bits))
    if seed.secret_bits == 0:
        job.dropped(shortened(seed.reason), qber_prob)
        return
    reason = await _prepare(job, bits, seed)
    crashpoint.reach(PREPARED_RECEIVER)
    if not reason:
        try:
            await job.send_tagged(block_prepared=link_session_pb2.BlockPrepared(block_id=block_id, is_prepared=True))
        except PadsExhaustedError:
            await job.abort()
            reason = AUTH_STARVED
    if reason:
        await wire.send(block_prepared=link_session_pb2.BlockPrepared(block_id=block_id, reason=reason))
    if reason:
        decision: link_session_pb2.BlockDecision = await job.expect("block_decision")
        job.dropped(shortened(decision.reason) or reason, qber_prob)
        return
    decision = await job.expect_decided("block_decision")
    if not decision.is_commit:
        await job.abort()
        job.dropped(shortened(decision.reason), qber_prob)
        return
    await job.commit()
    crashpoint.reach(COMMITTED_RECEIVER)
    job.made(seed.secret_bits, qber_prob)
    await job.send_decided(block_committed=link_session_pb2.BlockCommitted(block_id=block_id))


async def _correct(job: BlockJob, cascade: CascadeReceiver) -> None:
    queries = await asyncio.to_thread(cascade.next_queries)
    while queries is not None:
        await job.wire.send(
            parity_query=link_session_pb2.ParityQuery(
                block_id=job.block_id,
                passes=queries.passes.astype(np.uint8).tobytes(),
                starts=queries.starts.astype("<u4").tobytes(),
                lengths=queries.lengths.astype("<u4").tobytes(),
            )
        )
        answer: link_session_pb2.ParityAnswer = await job.expect("parity_answer")
        parities = packed.unpack(answer.parities, len(queries))
        if queries.is_light:
            queries = _next_round(cascade, parities)
        else:
            queries = await asyncio.to_thread(_next_round, cascade, parities)


def _next_round(cascade: CascadeReceiver, parities: packed.Bits) -> ParityQueries | None:
    cascade.take_answers(parities)
    return cascade.next_queries()


def _corrected(job: BlockJob, cascade: CascadeReceiver) -> tuple[packed.Bits, list[int]]:
    """Return the bits as corrected, and how many of them were wrong, by intensity."""
    intensities = job.raw.z_intensities.take(cascade.error_positions)
    return cascade.bits, np.bincount(intensities, minlength=len(job.raw.z_counts)).tolist()


async def _prepare(job: BlockJob, bits: packed.Bits, seed: link_session_pb2.BlockSeed) -> str:
    """Hold the secret PREPARED; return why not, or nothing."""
    sifted = len(job.raw.z_bits)
    if seed.secret_bits > sifted:
        raise SessionRefusedError(f"block {job.block_id}: {seed.secret_bits} secret bits of {sifted} sifted ones")
    tag = await asyncio.to_thread(polynomial_hash, bits, seed.hash_key)
    if not hmac.compare_digest(tag, seed.hash):
        return "verification"
    toeplitz_seed = packed.unpack(seed.toeplitz_seed, sifted + seed.secret_bits - 1)
    secret = await asyncio.to_thread(toeplitz_hash, bits, toeplitz_seed, seed.secret_bits)
    try:
        await job.hold(secret, BlockRole.RECEIVER)
    except StorageError as error:
        job.node.process.log.error("key.block.not.stored", block_id=job.block_id, detail=str(error))
        return "storage"
    return ""
