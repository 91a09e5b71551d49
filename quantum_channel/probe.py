"""quantum_channel.probe: light on no wire, to see what a link is like now. Edge.

Blocks from train.PROBE_BLOCK on are of no train, so what both ends choose for them tells nothing of any key.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.compiled import loaded
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES, STREAM_RECEIVER, STREAM_TRANSMITTER, philox4x32
from qnetem.v1 import quantum_channel_pb2
from quantum_channel.conditions import conditions
from quantum_channel.controls import Controls
from quantum_channel.course import Cell
from quantum_channel.response import Response, respond
from quantum_channel.sampler import COLD, Carry, Keys, Sampler, log_uniform, pulse_classes
from quantum_channel.train import CLICK_BYTES, PROBE_BLOCK, expected_bytes, stretch_limit

__all__ = ["Probe", "chosen_classes", "dark_response", "partner_singles"]

_CLICK_LIMIT: Final = 10**8
_BLOCK_LIMIT: Final = 1 << 20
# light of a probe passes at once: stretches as on a clock that runs so fast
_SCALE: Final = 64.0
_SINGLES_LIMIT: Final = 10**6
_SINGLES_PULSES: Final = 1 << 40
# of a probe's first block; candidates, what is kept of them, strays and afterpulses draw below
_SINGLES_DRAW: Final = 3 << 30


def chosen_classes(response: Response, keys: Keys, pulses: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return sampler.pulse_classes, twenty times as fast where the choice function is compiled. Shape (n,), uint8."""
    compiled = loaded("qnetem.runtime.rng_compiled")
    if compiled is None:
        return pulse_classes(response, keys, pulses).astype(np.uint8)
    sent, received = keys.words[1].copy(), keys.words[2].copy()
    # the kernels put the number of the stream into the word themselves
    sent[2] ^= STREAM_TRANSMITTER
    received[2] ^= STREAM_RECEIVER
    bases, levels, bits, others, unused = (np.empty(len(pulses), dtype=np.uint8) for _ in range(5))
    z_sent, z_received = (int(threshold) for threshold in response.basis_thresholds)
    compiled.transmitter_kernel(pulses, sent, z_sent, response.intensity_thresholds, bases, levels, bits)
    compiled.receiver_kernel(pulses, received, z_received, others, unused)
    return np.asarray(((levels << 1 | bases) << 1 | others) << 1 | bits, dtype=np.uint8)


def dark_response(cell: Cell, controls: Controls) -> Response:
    """Return the tables of a link as it is in `cell`, its source switched off."""
    nature = conditions(cell.parameters, cell.drift, controls)
    return respond(cell.parameters, replace(nature, intensity_ratio=0.0))


def partner_singles(response: Response, keys: Keys, block: int, click_count: int) -> quantum_channel_pb2.PartnerSingles:
    """Return about so many clicks of the transmitter's own detectors, by gaps as long as chance makes them."""
    lit = response.partner_probs[1:]
    any_prob = min(1.0, float(lit.sum()))
    if not any_prob > 0.0:
        return quantum_channel_pb2.PartnerSingles(pulse_count=_SINGLES_PULSES)
    k0, k1, _, c3 = (int(word) for word in keys.words[0])
    counters = np.arange(min(click_count, _SINGLES_LIMIT), dtype=np.uint64) + np.uint64(_SINGLES_DRAW)
    gap, kind, *_ = philox4x32(counters, block & 0xFFFFFFFF, block >> 32, c3, k0, k1)
    scale = 1.0 / np.log1p(-any_prob) if any_prob < 1.0 else 0.0
    pulses = np.cumsum(np.floor(log_uniform(gap) * scale) + 1.0)
    seen = int(np.searchsorted(pulses, _SINGLES_PULSES, side="right"))
    thresholds = np.round(np.cumsum(lit)[:2] / any_prob * 2.0**32).astype(np.uint64)
    alone_0, alone_1, both = np.bincount((kind[:seen, None] >= thresholds).sum(axis=1), minlength=3).tolist()
    return quantum_channel_pb2.PartnerSingles(
        pulse_count=int(pulses[-1]) if seen == len(pulses) else _SINGLES_PULSES,
        detector_0_count=alone_0,
        detector_1_count=alone_1,
        both_count=both,
    )


class Probe:
    """Probes of one link; each goes on behind the blocks of the one before."""

    def __init__(self, keys: Keys, sampler: Sampler, pool: Executor) -> None:
        """Sample with `sampler` in `pool`."""
        self._keys, self._sampler, self._pool = keys, sampler, pool
        self._next_block = PROBE_BLOCK

    async def run(
        self, response: Response, period_ps: float, click_count: int
    ) -> AsyncIterator[quantum_channel_pb2.ProbeLinkResponse]:
        """Yield stretch after stretch of a link, until there are so many clicks, or 2^20 blocks have passed.

        With a source of pairs, what the transmitter's own detectors do by themselves comes last.

        Raises:
            BadInputError: So many clicks cannot be had.
        """
        if not 1 <= click_count <= _CLICK_LIMIT:
            raise BadInputError(f"click_count {click_count} is not in 1 .. {_CLICK_LIMIT}")
        clicks_per_block = expected_bytes(response) / CLICK_BYTES
        first, self._next_block = self._next_block, self._next_block + _BLOCK_LIMIT
        loop, carry, block, left = asyncio.get_running_loop(), COLD, first, click_count
        while left > 0 and block < first + _BLOCK_LIMIT:
            enough = int(left / max(clicks_per_block, 1e-9)) + 1
            count = min(stretch_limit(response, period_ps, _SCALE), enough, first + _BLOCK_LIMIT - block)
            part, carry = await loop.run_in_executor(self._pool, self._stretch, response, block, count, carry)
            left -= len(part.detectors)
            block += count
            yield part
        if response.has_partners:
            singles = await loop.run_in_executor(self._pool, partner_singles, response, self._keys, first, click_count)
            yield quantum_channel_pb2.ProbeLinkResponse(partner_singles=singles)

    def _stretch(
        self, response: Response, block: int, count: int, carry: Carry
    ) -> tuple[quantum_channel_pb2.ProbeLinkResponse, Carry]:
        sample, carry = self._sampler(response, self._keys, block, count, carry)
        blocks = np.repeat(np.arange(block, block + count, dtype=np.int64), sample.block_counts)
        classes = chosen_classes(response, self._keys, (blocks * BLOCK_PULSES + sample.offsets).astype(np.uint64))
        message = quantum_channel_pb2.ProbeLinkResponse(
            block_count=count,
            block_counts=sample.block_counts.astype("<u4", copy=False).tobytes(),
            offsets=sample.offsets.astype("<i4", copy=False).tobytes(),
            detectors=sample.detectors.tobytes(),
            arrivals_ps=sample.arrivals_ps.astype("<i4", copy=False).tobytes(),
            classes=classes.tobytes(),
            partners=sample.partners.tobytes(),
        )
        return message, carry
