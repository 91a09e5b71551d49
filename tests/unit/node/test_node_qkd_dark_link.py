"""A link with darks alone: named for what it is, at once, and no slots are searched for pulses that are not there."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import numpy as np
import pytest
from honest_link import config_of

from node.control.reasons import CLOCK_LOST, NO_LIGHT
from node.devices.receiver import Receiver
from node.devices.transmitter import Transmitter
from node.link_state import LinkRecord
from node.qkd import bits as packed
from node.qkd import session_transmitter
from node.qkd.monitor import CommissioningTally
from node.qkd.session_transmitter import TransmitterSession
from qnetem.v1 import link_session_pb2, process_pb2
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.wire import parameters_from_message

NANOWIRES, PHOTODIODES = "decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd"
TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
LINKS = {
    "nanowires": config_of(NANOWIRES, "25km"),
    "photodiodes": config_of(PHOTODIODES, "25km"),
    "photodiodes, passive": config_of(PHOTODIODES, "25km", is_passive=True),
    "photodiodes, gated": config_of(PHOTODIODES, "25km", gate_width_ps=500.0),
    "classical light": config_of(NANOWIRES, "50km", "metro-day"),
    "two decoys": config_of("two-decoys-bb84-1ghz-snspd", "25km"),
}


def of_end(config: process_pb2.NodeLinkConfig, secret: bytes) -> process_pb2.NodeLinkConfig:
    end = process_pb2.NodeLinkConfig()
    end.CopyFrom(config)
    end.device_secret = secret
    return end


class TestTrains:
    """Test trains as a transmitter sees them: its own session, a wire that leads nowhere, reports of what clicked."""

    __test__ = False

    def __init__(self, config: process_pb2.NodeLinkConfig, extra_loss_db: float, late_slots: int = 0) -> None:
        lossy = of_end(config, b"")
        lossy.planned.extra_loss_db += extra_loss_db
        self._response = respond(parameters_from_message(lossy.planned))
        self._late = late_slots
        self._receiver = Receiver(of_end(config, RECEIVER))
        self.wire = MagicMock(send=AsyncMock())
        now_ps = lambda: 10**15  # noqa: E731
        node: Any = SimpleNamespace(process=SimpleNamespace(clock=SimpleNamespace(now_ps=now_ps)), incarnation=1)
        record = LinkRecord(config.link_id, now_ps, lambda _: None)
        device = Transmitter(of_end(config, TRANSMITTER))
        self.session = TransmitterSession(config, node, record, device, self.wire, 1)
        self.tally = CommissioningTally(config.protocol.qber_abort_prob)
        self._blocks = config.protocol.train_blocks
        self._next = 1

    async def one(self) -> None:
        """Let a test train pass."""
        first, self._next = self._next, self._next + self._blocks
        keys = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
        clicks, _ = sample(self._response, keys, first, self._blocks, COLD)
        whole = range(first, first + self._blocks)
        found = self._receiver.detect(
            first, clicks.block_counts, clicks.offsets + np.int32(self._late), clicks.detectors, whole
        )
        report = link_session_pb2.SiftReport(
            train_id=first,
            is_last=True,
            first_block=first,
            block_counts=found.block_counts.astype("<u4").tobytes(),
            offsets=found.offsets.astype("<i4").tobytes(),
            bases=packed.pack(found.bases),
            values=packed.pack(found.bits),
        )
        await self.session.announce(whole, 0, self.tally)
        await self.session._sift(report)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> AsyncMock:
    searched = AsyncMock(return_value=0)
    monkeypatch.setattr(session_transmitter, "missed_slots", searched)
    return searched


@pytest.mark.parametrize("name", LINKS)
async def test_darks_alone_are_no_light_after_one_train(name: str, searches: AsyncMock) -> None:
    trains = TestTrains(LINKS[name], extra_loss_db=100.0)
    for _ in range(10):
        await trains.one()
        assert not trains.tally.needs_more
        assert trains.tally.trouble == NO_LIGHT
    assert searches.await_count == 0
    # nor do they keep a link in service
    assert trains.session.monitor.trouble == NO_LIGHT


@pytest.mark.parametrize("name", LINKS)
async def test_light_that_would_do_is_seen_in_the_first_train(name: str) -> None:
    # an error rate of 5 %: nine times as many clicks of light as darks
    config = LINKS[name]
    lit, dark = (TestTrains(config, loss_db)._response.click_prob for loss_db in (20.0, 100.0))
    loss_db = 20.0 + 10.0 * np.log10((lit - dark) / (9.0 * dark))
    trains = TestTrains(config, extra_loss_db=float(loss_db))
    await trains.one()
    assert trains.tally.click_count > 0
    assert trains.tally.trouble in ("", "too-faint")
    assert trains.tally.qber_prob == pytest.approx(0.06, abs=0.06)


async def test_light_in_other_slots_is_searched_and_found() -> None:
    trains = TestTrains(LINKS["photodiodes"], extra_loss_db=0.0, late_slots=7)
    await trains.one()
    assert trains.wire.send.await_args.kwargs["sift_answer"].slot_shift == 7
    assert trains.tally.trouble != NO_LIGHT


async def test_light_of_no_slot_at_all_has_lost_its_clock(searches: AsyncMock) -> None:
    trains = TestTrains(LINKS["photodiodes"], extra_loss_db=0.0, late_slots=9000)
    await trains.one()
    assert searches.await_count == 1
    assert trains.tally.trouble == CLOCK_LOST
