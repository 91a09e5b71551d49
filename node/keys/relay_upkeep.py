"""node.keys.relay_upkeep: what relaying leaves to be done: voids, burns, probes, sweeps. Edge: gRPC.

Voids go to their targets over any path that lives, burns to the next node; both until they are confirmed, through
restarts.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from node.keys.relay_courier import Courier
from node.keys.relay_hops import Hops
from node.keys.relay_servicer import KeyRelayServicer
from node.keys.relay_store import RelayStore
from qnetem.runtime.errors import QnetemError, StorageError
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_relay_pb2 as pb

__all__ = ["RelayUpkeep"]

_VOIDS_PER_CALL: Final = 512
_log = get_logger("node.keys.relay")


class RelayUpkeep:
    """The background work of one KME's relaying."""

    def __init__(self, relays: RelayStore, hops: Hops, courier: Courier, servicer: KeyRelayServicer) -> None:
        """Look after the transfers of `relays`."""
        self._relays = relays
        self._hops = hops
        self._courier = courier
        self._servicer = servicer

    async def run(self) -> None:
        """Work until cancelled. One such task per KME."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settle_forever())
            tasks.create_task(self._probe_forever())
            tasks.create_task(self._clear_forever())

    async def _settle_forever(self) -> None:
        while True:
            await asyncio.sleep(self._courier.times.settle_s)
            await _tried("settle", self._servicer.settle)

    async def _probe_forever(self) -> None:
        """Ask silent hops whether they are back, each at a rate that falls while it stays silent."""
        times = self._courier.times
        pauses: dict[tuple[str, str], tuple[float, float]] = {}
        while True:
            await asyncio.sleep(times.retry_s * 4)
            now_s = time.monotonic()
            silent = self._courier.book.probe_paths(now_s)
            pauses = {hop: one for hop, one in pauses.items() if hop in silent}
            for hop, nodes in silent.items():
                due_s, pause_s = pauses.get(hop, (now_s, times.attempt_s))
                if due_s > now_s:
                    continue
                if await self._courier.probe(hop, nodes):
                    _log.info("relay.hop.back", hop=list(hop))
                else:
                    pause_s = min(2 * pause_s, times.idle_s)
                    pauses[hop] = (time.monotonic() + pause_s, pause_s)

    async def _clear_forever(self) -> None:
        """Sweep the store, and bring what is to be confirmed to whom it concerns."""
        times = self._courier.times
        pause_s = times.retry_s
        while True:
            self._hops.wake.clear()
            is_left = not await _tried("sweep", self._sweep)
            is_left = not await _tried("clear", self.clear) or is_left
            pause_s = min(2 * pause_s, times.idle_s) if is_left else times.retry_s
            await self._pause(pause_s * random.uniform(0.5, 1.0) if is_left else times.idle_s)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._hops.wake.wait()
        except TimeoutError:
            return

    async def _sweep(self) -> None:
        swept = await self._relays.sweep(self._courier.times.in_flight_s)
        if swept.abandoned_count or swept.given_up_count:
            _log.warning("relay.swept", abandoned_count=swept.abandoned_count, given_up_count=swept.given_up_count)
            await self._hops.to_burn(sorted(await self._relays.peers_to_burn()))

    async def clear(self) -> None:
        """Bring every void and every burn to whom it concerns.

        Raises:
            QnetemError: One at least could not be brought; the others were.
        """
        failed: QnetemError | None = None
        for neighbour in sorted(await self._hops.with_unconfirmed()):
            try:
                await self._hops.flush(neighbour, self._courier.times.call_s)
            except StorageError:
                raise
            except QnetemError as error:
                failed = error
        for target in sorted(await self._relays.targets_to_void()):
            try:
                await self._void(target)
            except StorageError:
                raise
            except QnetemError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _void(self, target: str) -> None:
        while True:
            ids = await self._relays.pending_voids(target, _VOIDS_PER_CALL)
            if not ids:
                return
            answer = await self._courier.ask(target, pb.VoidTransfersRequest(transfer_ids=ids))
            if pb.ACK_STATUS_FAILED_TO_VOID in answer.ack_statuses:
                _log.error("relay.void.failed", target=target, transfers_count=len(ids))
            await self._relays.confirm_voids(ids)


async def _tried(what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    try:
        await work()
    except QnetemError as error:
        _log.warning("relay.upkeep.failed", what=what, reason=error.reason)
        return False
    return True
