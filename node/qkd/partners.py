"""node.qkd.partners: what the transmitter's own detectors saw of pairs, until the receiver has reported. Wiring."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from node.devices.pulses import pulse_indices
from node.qkd.bbm92 import outcome_bits
from node.qkd.bits import Bits
from node.qkd.errors import LinkTroubleError
from quantum_channel.client import PartnerClicks

__all__ = ["Partners"]

# the channel tells both ends of a stretch at the same time; wall seconds
_PATIENCE_S: Final = 10.0


@dataclass
class _Seen:
    """Coincidences of one train so far, in ascending pulses; `end_block`: the first block that is not told of yet."""

    end_block: int = 0
    indices: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    detectors: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8), repr=False)


class Partners:
    """Keeps the outcomes of a train until the receiver has reported the same stretch."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen: dict[int, _Seen] = {}
        self._forgotten = -1
        self._has_more = asyncio.Event()

    def take(self, clicks: PartnerClicks) -> None:
        """Take what the channel says of the next stretch of a train.

        Raises:
            BadInputError: The arrays do not fit together.
        """
        if clicks.train_id <= self._forgotten:
            return
        seen = self._seen.setdefault(clicks.train_id, _Seen())
        found = pulse_indices(clicks.first_block, clicks.block_counts, clicks.offsets)
        indices = np.concatenate((seen.indices, found))
        # jitter carries pulses of one stretch into the clicks of the next
        order = np.argsort(indices, kind="stable")
        seen.indices = indices[order]
        seen.detectors = np.concatenate((seen.detectors, clicks.detectors))[order]
        seen.end_block = clicks.first_block + len(clicks.block_counts)
        self._has_more.set()

    async def outcomes(
        self, train_id: int, end_block: int, indices: npt.NDArray[np.uint64], random_bits: Bits
    ) -> tuple[npt.NDArray[np.bool_], Bits]:
        """Return at which pulses there is an outcome, and its bit (elsewhere 0).

        Args:
            train_id: The train that the pulses belong to.
            end_block: The outcomes of the blocks before this one are waited for.
            indices: Pulses, ascending. Shape (n,), uint64.
            random_bits: Given to double clicks. Shape (n,), uint8.

        Raises:
            LinkTroubleError: The channel does not say what the detectors saw.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while (seen := self._seen.get(train_id)) is None or seen.end_block < end_block:
                    self._has_more.clear()
                    await self._has_more.wait()
        except TimeoutError:
            raise LinkTroubleError("quantum-channel-lost") from None
        return self.known(train_id, indices, random_bits)

    def known(
        self, train_id: int, indices: npt.NDArray[np.uint64], random_bits: Bits
    ) -> tuple[npt.NDArray[np.bool_], Bits]:
        """Return the same of what was told so far; arguments as of `outcomes`."""
        seen = self._seen.get(train_id)
        if seen is None or not len(seen.indices):
            return np.zeros(len(indices), dtype=np.bool_), np.zeros(len(indices), dtype=np.uint8)
        places = np.minimum(np.searchsorted(seen.indices, indices), len(seen.indices) - 1)
        has_bit = seen.indices[places] == indices
        bits = outcome_bits(seen.detectors[places], random_bits)
        return has_bit, np.where(has_bit, bits, 0).astype(np.uint8)

    def forget(self, train_id: int) -> None:
        """Drop a train that was reported to its end, and those before it."""
        self._forgotten = train_id
        self._seen = {number: seen for number, seen in self._seen.items() if number > train_id}
