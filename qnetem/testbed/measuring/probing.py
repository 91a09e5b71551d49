"""qnetem.testbed.measuring.probing: links of a running testbed, probed one after the other. Edge."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.runtime import rpc
from qnetem.runtime.errors import ConflictError, NotFoundError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.testbed.credentials import ADMIN
from qnetem.testbed.layout import Layout
from qnetem.testbed.measuring.comparison import Row, compared
from qnetem.testbed.measuring.expected import Expected, expected
from qnetem.testbed.measuring.tally import Dark, Tally
from qnetem.testbed.plan import TestbedPlan
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import quantum_channel_pb2
from quantum_channel.client import QuantumLinkClient

__all__ = ["Measured", "measured"]

# with the source off clicks are rare, and a link has few of them to tell of
_DARK_CLICKS: Final = 1000
_DARK_RATIO: Final = 100


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
        ConflictError: It is down; or not a click came.
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
            tally = Tally(len(state.effective.intensities), is_passive=state.effective.is_passive)
        if tally is not None and part.block_count:
            tally.add(
                np.frombuffer(part.block_counts, "<u4"),
                np.frombuffer(part.offsets, "<i4"),
                np.frombuffer(part.detectors, np.uint8),
                np.frombuffer(part.arrivals_ps, "<i4"),
                np.frombuffer(part.classes, np.uint8),
                np.frombuffer(part.partners, np.uint8) if part.partners else None,
            )
        if tally is not None and part.HasField("partner_singles"):
            singles = part.partner_singles
            tally.transmitter_pulse_count = singles.pulse_count
            tally.transmitter_click_count = _clicks(singles)
            tally.transmitter_double_count = singles.both_count
    if tally is None or not tally.click_count:
        raise ConflictError(f"link {link_id}: no click came")
    wanted = expected(state)
    dark = await _darkened(client, link_id, max(_DARK_CLICKS, click_count // _DARK_RATIO))
    rows = compared(tally, wanted, list(state.effective.intensity_probs), state.effective.clock_hz, dark)
    return Measured(link_id, tally, wanted, tuple(rows))


async def _darkened(client: QuantumLinkClient, link_id: str, click_count: int) -> Dark:
    dark = Dark()
    async for part in client.probe_link(link_id, click_count, is_dark=True):
        dark.pulse_count += part.block_count * BLOCK_PULSES
        dark.click_count += len(part.detectors)
        if part.HasField("partner_singles"):
            dark.transmitter_pulse_count = part.partner_singles.pulse_count
            dark.transmitter_click_count = _clicks(part.partner_singles)
    if not dark.pulse_count:
        # since its light was probed
        raise ConflictError(f"link {link_id} is down")
    return dark


def _clicks(singles: quantum_channel_pb2.PartnerSingles) -> int:
    return singles.detector_0_count + singles.detector_1_count + singles.both_count
