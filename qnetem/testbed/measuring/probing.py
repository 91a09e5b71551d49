"""qnetem.testbed.measuring.probing: links of a running testbed, probed one after the other. Edge."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import numpy as np

from qnetem.runtime import rpc
from qnetem.runtime.errors import ConflictError, NotFoundError
from qnetem.testbed.credentials import ADMIN
from qnetem.testbed.layout import Layout
from qnetem.testbed.measuring.comparison import Row, compared
from qnetem.testbed.measuring.expected import Expected, expected
from qnetem.testbed.measuring.tally import Tally
from qnetem.testbed.plan import TestbedPlan
from qnetem.topology.words import did_you_mean, shown
from quantum_channel.client import QuantumLinkClient

__all__ = ["Measured", "measured"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A link that was probed.

    Attributes:
        link_id: The link.
        tally: What was counted.
        wanted: What was to be expected.
        rows: Both, quantity by quantity.
    """

    link_id: str
    tally: Tally
    wanted: Expected
    rows: tuple[Row, ...]

    @property
    def agrees(self) -> bool:
        """Whether chance can explain every difference."""
        return all(row.agrees for row in self.rows)


async def measured(
    layout: Layout, plan: TestbedPlan, link_ids: Iterable[str], click_count: int
) -> AsyncIterator[Measured]:
    """Yield each of the links, all of the testbed when none is named, as its channel process shows it now.

    Raises:
        NotFoundError: There is no such link.
        ConflictError: It is down, or makes entangled pairs; or not a click came.
        UnavailableError: Its channel does not answer.
    """
    chosen = list(link_ids) or [link.id for link in plan.links.values() if link.quantum_channel]
    for link_id in chosen:
        if link_id not in plan.links:
            raise NotFoundError(f"no link {shown(link_id)}" + did_you_mean(link_id, plan.links))
        if not plan.links[link_id].quantum_channel:
            raise ConflictError(f"link {link_id}: has no quantum channel, KMEs of another make give its keys")
    credentials = rpc.Credentials.load(layout.credentials("operator", ADMIN))
    for link_id in chosen:
        channel = plan.processes[plan.links[link_id].quantum_channel]
        async with QuantumLinkClient.connect(
            channel.listeners["management"], credentials, plan.testbed, channel.name
        ) as client:
            yield await _probed(client, link_id, click_count)


async def _probed(client: QuantumLinkClient, link_id: str, click_count: int) -> Measured:
    tally: Tally | None = None
    async for part in client.probe_link(link_id, click_count):
        if part.HasField("state"):
            state = part.state
            if not state.is_up:
                raise ConflictError(f"link {link_id} is down")
            if state.effective.pair_brightness > 0.0:
                raise ConflictError(f"link {link_id} makes entangled pairs: they are not checked")
            tally = Tally(len(state.effective.intensities), is_passive=state.effective.is_passive)
        if tally is not None and part.block_count:
            tally.add(
                np.frombuffer(part.block_counts, "<u4"),
                np.frombuffer(part.offsets, "<i4"),
                np.frombuffer(part.detectors, np.uint8),
                np.frombuffer(part.arrivals_ps, "<i4"),
                np.frombuffer(part.classes, np.uint8),
            )
    if tally is None or not tally.click_count:
        raise ConflictError(f"link {link_id}: no click came")
    wanted = expected(state)
    rows = compared(tally, wanted, list(state.effective.intensity_probs), state.effective.clock_hz)
    return Measured(link_id, tally, wanted, tuple(rows))
