"""quantum_channel.probe: light on no wire, to see what a link is like now. Edge.

Blocks from train.PROBE_BLOCK on are of no train, so what both ends choose for them tells nothing of any key.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final

import numpy as np

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import quantum_channel_pb2
from quantum_channel.response import Response
from quantum_channel.sampler import COLD, Carry, Keys, Sampler, pulse_classes
from quantum_channel.train import CLICK_BYTES, PROBE_BLOCK, expected_bytes, stretch_limit

__all__ = ["Probe"]

_CLICK_LIMIT: Final = 10**8
_BLOCK_LIMIT: Final = 1 << 20


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

        Raises:
            BadInputError: So many clicks cannot be had.
        """
        if not 1 <= click_count <= _CLICK_LIMIT:
            raise BadInputError(f"click_count {click_count} is not in 1 .. {_CLICK_LIMIT}")
        clicks_per_block = expected_bytes(response) / CLICK_BYTES
        first, self._next_block = self._next_block, self._next_block + _BLOCK_LIMIT
        loop, carry, block = asyncio.get_running_loop(), COLD, first
        while click_count > 0 and block < first + _BLOCK_LIMIT:
            enough = int(click_count / max(clicks_per_block, 1e-9)) + 1
            count = min(stretch_limit(response, period_ps, 1.0), enough, first + _BLOCK_LIMIT - block)
            part, carry = await loop.run_in_executor(self._pool, self._stretch, response, block, count, carry)
            click_count -= len(part.detectors)
            block += count
            yield part

    def _stretch(
        self, response: Response, block: int, count: int, carry: Carry
    ) -> tuple[quantum_channel_pb2.ProbeLinkResponse, Carry]:
        sample, carry = self._sampler(response, self._keys, block, count, carry)
        blocks = np.repeat(np.arange(block, block + count, dtype=np.int64), sample.block_counts)
        classes = pulse_classes(response, self._keys, (blocks * BLOCK_PULSES + sample.offsets).astype(np.uint64))
        message = quantum_channel_pb2.ProbeLinkResponse(
            block_count=count,
            block_counts=sample.block_counts.astype("<u4", copy=False).tobytes(),
            offsets=sample.offsets.astype("<i4", copy=False).tobytes(),
            detectors=sample.detectors.tobytes(),
            arrivals_ps=sample.arrivals_ps.astype("<i4", copy=False).tobytes(),
            classes=classes.astype(np.uint8).tobytes(),
        )
        return message, carry
