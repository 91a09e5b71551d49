"""node.keys.relay_prefill: keeps pools with far KMEs filled, so that requests are answered from store. Edge: gRPC.

A pool is filled when less than its low water is available here, up to its high water; half of every block that is
relayed for it is the far KME's to give. Pools that the configuration names are always kept; those of pairs that were
asked for, for as long as somebody asks.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.keys.relay import Relay
from node.keys.relay_frame import HOP_BITS
from node.keys.store import KeyStore
from qnetem.runtime.errors import QnetemError
from qnetem.runtime.log import get_logger

__all__ = ["ASKED_MARKS", "Marks", "Prefill"]

_ASKED_S: Final = 300.0
_LOOK_S: Final = 0.5
_PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0)
# a block that fails on the way has cost the hops before: begin small, double while it goes well
_LEAST_BITS: Final = 512
_MOST_BITS: Final = 8192
# what first hops keep for those who ask now
_RESERVE_BITS: Final = 4096
_log = get_logger("node.keys.relay")


@dataclass(frozen=True, slots=True)
class Marks:
    """Bits available at this end: below `low_bits` it is filled, up to `high_bits`."""

    low_bits: int
    high_bits: int


ASKED_MARKS: Final = Marks(2048, 8192)


class Prefill:
    """The pools with far KMEs that one KME keeps filled."""

    def __init__(self, store: KeyStore, relay: Relay, named: Mapping[str, Marks]) -> None:
        """Keep those that are `named`, by node, and those that are asked for."""
        self._store = store
        self._relay = relay
        self._named = dict(named)
        self._asked: dict[str, float] = {}
        self._filling: set[str] = set()
        self._block_bits: dict[str, int] = {}
        # by node: how often in a row it failed, and when it is tried again
        self._failures: dict[str, tuple[int, float]] = {}
        self._wake = asyncio.Event()

    def asked(self, node: str) -> None:
        """Note that keys for a far KME were asked for."""
        self._asked[node] = time.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Fill until cancelled. One such task per KME."""
        while True:
            self._wake.clear()
            now_s = time.monotonic()
            self._asked = {node: at_s for node, at_s in self._asked.items() if now_s - at_s < _ASKED_S}
            for node in (*self._named, *(node for node in self._asked if node not in self._named)):
                if self._failures.get(node, (0, 0.0))[1] <= now_s:
                    await self._keep(node)
            try:
                async with asyncio.timeout(_LOOK_S if self._named or self._asked else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _keep(self, node: str) -> None:
        marks = self._named.get(node, ASKED_MARKS)
        try:
            available = (await self._store.pool(node)).available_bits
            if available < marks.low_bits:
                self._filling.add(node)
            while node in self._filling:
                missing = marks.high_bits - available
                if missing < 16:
                    self._filling.discard(node)
                    break
                size_bits = min(self._block_bits.get(node, _LEAST_BITS), 2 * missing // 16 * 16)
                if not await self._has_enough(node, size_bits):
                    return
                await self._relay.fill(node, size_bits)
                self._block_bits[node] = min(2 * self._block_bits.get(node, _LEAST_BITS), _MOST_BITS)
                available = (await self._store.pool(node)).available_bits
            self._failures.pop(node, None)
        except QnetemError as error:
            self._block_bits.pop(node, None)
            count = self._failures.get(node, (0, 0.0))[0]
            pause_s = _PAUSES_S[min(count, len(_PAUSES_S) - 1)] * random.uniform(0.75, 1.25)
            self._failures[node] = (count + 1, time.monotonic() + pause_s)
            if count == 0:
                _log.warning("relay.prefill.failed", target=node, reason=error.reason)

    async def _has_enough(self, node: str, size_bits: int) -> bool:
        """Return whether a first hop can spare a block: prefilling comes after who asks now."""
        for path in self._relay.paths(node):
            first = (await self._store.pool(path.nodes[1])).available_bits
            if first >= size_bits + HOP_BITS + _RESERVE_BITS:
                return True
        return False
