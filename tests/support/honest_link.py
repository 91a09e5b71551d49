"""One link in one process: the channel's nature, and the receiver's and transmitter's own code, without sockets."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import quantum_channel.raw_time_compiled
from node.control.receiver_watch import ReceiverWatch
from node.control.transmitter_watch import TransmitterWatch
from node.devices.pulses import pulse_indices
from node.devices.receiver import Detections
from node.devices.transmitter import Transmitter
from node.qkd.partners import Partners
from node.qkd.protocols import level_count
from node.qkd.receiver_control import Answered, ReceiverControl
from node.qkd.sifting import sift_transmitter
from node.qkd.slot_search import LEAST_COMPARED, SLIPPED_PROB, missed_slots
from qnetem import topology
from qnetem.runtime.clock import to_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import link_session_pb2, parameters_pb2, process_pb2, quantum_channel_pb2
from quantum_channel.client import Clicks
from quantum_channel.course import Run
from quantum_channel.link import Link
from quantum_channel.passage import START, bias_ratio, pass_runs
from quantum_channel.sampler import Keys, Sample
from quantum_channel.sampler_compiled import sample
from quantum_channel.time_transfer import stamps
from quantum_channel.train import Train, stretch_limit
from quantum_channel.wire import parameters_from_message, partner_clicks

__all__ = ["HonestLink", "Seen", "config_of"]

assert quantum_channel.raw_time_compiled  # found by its being loaded
NATURE, TRANSMITTER, RECEIVER = b"nature----------", b"transmitter-----", b"receiver--------"
LINK: Final = "n0-n1"
_SECOND_PS: Final = 10**12
_HOUR_PS: Final = 3600 * _SECOND_PS
_GLANCE_CLICKS: Final = 1000
U8 = npt.NDArray[np.uint8]


def config_of(profile: str, length: str, environment: str = "", **changes: Any) -> process_pb2.NodeLinkConfig:
    """Return a link as a topology plans it; `changes` by the names of LinkParameters."""
    text: dict[str, Any] = topology.ring(2)
    text["topology"]["defaults"] = {"profile": profile, **({"environment": environment} if environment else {})}
    text["topology"]["links"][0]["quantum"] = {"length": length}
    link = topology.from_dict(text).links[LINK]
    planned = parameters_pb2.LinkParameters()
    planned.CopyFrom(link.planned)
    for name, value in changes.items():
        if isinstance(value, tuple):
            planned.ClearField(name)  # type: ignore[arg-type]
            getattr(planned, name).extend(value)
        else:
            setattr(planned, name, value)
    return process_pb2.NodeLinkConfig(link_id=LINK, planned=planned, protocol=link.protocol)


@dataclass
class Seen:
    """What the watches of both ends were told, to tell it to others again."""

    receiver: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    transmitter: list[tuple[Any, ...]] = field(default_factory=list)


class HonestLink:
    """A link whose trains pass when asked, at any emulated time after the last.

    Attributes:
        now_ps: Emulated time.
        control: The receiver's loops and monitors.
        watch: The transmitter's monitors.
        seen: What either was told in service.
        alarms: Every reason that either gave, ever.
    """

    def __init__(self, config: process_pb2.NodeLinkConfig, secret: bytes = NATURE) -> None:
        """Build both ends of a link, and its nature by a secret of 16 bytes."""
        self.config, planned = config, config.planned
        ends = [process_pb2.NodeLinkConfig(), process_pb2.NodeLinkConfig()]
        for end, device_secret in zip(ends, (TRANSMITTER, RECEIVER), strict=True):
            end.CopyFrom(config)
            end.device_secret = device_secret
        self.link = Link(LINK, parameters_from_message(planned), {}, secret)
        self._keys = Keys.of(secret, TRANSMITTER, RECEIVER)
        self.now_ps, self._block = 0, 0
        journal = SimpleNamespace(write=lambda *_, **__: None)
        node: Any = SimpleNamespace(process=SimpleNamespace(clock=SimpleNamespace(now_ps=self._now), journal=journal))
        record: Any = SimpleNamespace(loops=SimpleNamespace(alignments_count=0))
        self.control = ReceiverControl(ends[1], node, record)
        self.device = Transmitter(ends[0])
        self.watch = TransmitterWatch(planned)
        self._partners = Partners() if planned.pair_brightness else None
        self._levels = level_count(config)
        self.seen, self.alarms = Seen(), set[str]()
        self.clicks = self.pulses = 0

    def _now(self) -> int:
        return self.now_ps

    # what the receiver asks of its quantum channel

    async def align(self, _: str) -> int:
        """As QuantumChannelClient.align."""
        self.link.align(self.now_ps)
        return self.link.effective_from_block

    async def tune(self, _: str, **trims: float) -> int:
        """As QuantumChannelClient.tune."""
        self.link.tune(self.now_ps, **trims)
        return self.link.effective_from_block

    async def transfer_time(self, _: str) -> quantum_channel_pb2.TransferTimeResponse:
        """As QuantumChannelClient.transfer_time."""
        read = stamps(self.link, self.now_ps)
        self.now_ps = max(self.now_ps, read.back_ps)
        return quantum_channel_pb2.TransferTimeResponse(
            **dict(zip(("t1_ps", "t2_ps", "t3_ps", "t4_ps"), read.read_ps, strict=True))
        )

    async def commission(self, most: int = 120) -> None:
        """Set the receiver up by test trains, as a session does."""
        channel: Any = self
        await self.control.prepare(channel)
        for _ in range(most):
            await self.train(is_test=True)
            if not self.control.step:
                return
        raise AssertionError(f"not in service after {most} test trains: {self.control.step}")

    async def train(self, block_count: int | None = None, *, is_test: bool = False) -> None:
        """Let one train pass, as long as planned unless said, and both ends do with it what they do."""
        p = self.link.timeline.planned
        train = Train(self._block, block_count or self.config.protocol.train_blocks, self.now_ps, p.period_ps)
        self._block = train.end_block
        notice = link_session_pb2.TrainNotice(
            train_id=train.first_block, block_count=train.block_count, start=to_time(train.start_ps), is_test=is_test
        )
        self.link.begin(train.first_block, train.start_ps)
        left, block, is_slipped = START, train.first_block, False
        while block < train.end_block:
            runs = self._runs(train, block)
            end_block = runs[-1].end_block
            self.link.begin(end_block, train.time_ps(end_block))
            passed, left = pass_runs(sample, self._keys, self.link.course.weather, train, runs, left)
            self.now_ps = max(self.now_ps, train.time_ps(end_block))
            if self._partners is not None:
                told = partner_clicks(train.first_block, block, passed.sample, is_last=end_block == train.end_block)
                self._partners.take(told)
            is_slipped |= await self._stretch(passed.tagged, notice, block, end_block, bias_ratio(runs), is_slipped)
            block = end_block
        self.link.rest()

    def _runs(self, train: Train, block: int) -> list[Run]:
        course, count = self.link.course, train.end_block - block
        most = stretch_limit(course.cell(train.time_ps(block)).response, train.period_ps, 1.0)
        return course.runs(train, block, block - (-count // -(-count // most)))

    async def _stretch(
        self,
        tagged: Sample,
        notice: link_session_pb2.TrainNotice,
        block: int,
        end_block: int,
        bias: float,
        has_slipped: bool,
    ) -> bool:
        is_last = end_block == notice.train_id + notice.block_count
        clicks = Clicks(
            notice.train_id,
            block,
            tagged.block_counts,
            tagged.offsets,
            tagged.detectors,
            tagged.arrivals_ps,
            is_last,
            0,
            bias,
        )
        with self._noted(self.control._watch):
            found, epoch = await self.control.detect(clicks, notice)
        indices = pulse_indices(found.first_block, found.block_counts, found.offsets)
        bases, intensities, bits = self.device.choices(indices)
        has_bit = None
        if self._partners is not None:
            has_bit, bits = self._partners.known(notice.train_id, indices, bits)
        sifted = sift_transmitter(bases, intensities, bits, found.bases, is_test=notice.is_test, has_bit=has_bit)
        match_count = int(sifted.matches.sum())
        levels = np.bincount(intensities, minlength=self._levels).tolist()
        can_match = len(indices) if has_bit is None else int(has_bit.sum())
        pulses = len(found.block_counts) * BLOCK_PULSES
        is_wrong = (found.bits != bits) & (sifted.matches == 1)
        shift = 0
        if notice.is_test:
            errors = int(is_wrong.sum())
            if errors >= SLIPPED_PROB * match_count and match_count >= LEAST_COMPARED and not has_slipped:
                shift = await missed_slots(
                    self.device, self._partners, notice.train_id, indices, found.bases, found.bits
                )
        else:
            self.clicks += len(indices)
            self.pulses += pulses
            told = (pulses, levels, match_count, can_match)
            self.seen.transmitter.append(told)
            self.watch.see_report(*told)
            self.alarms |= self.watch.alarms | {reason for told in self.control.verdict for reason in told}
        compared = [self._compared(found, is_wrong, sifted.matches, basis, is_test=notice.is_test) for basis in (0, 1)]
        await self.control.answered(
            Answered(range(block, end_block), *compared, shift, epoch, notice.is_test, is_last), key_block=0
        )
        return shift != 0

    @staticmethod
    def _compared(found: Detections, is_wrong: Any, matches: U8, basis: int, *, is_test: bool) -> tuple[int, int]:
        """Return bits compared in the open, and errors: in service in X alone."""
        if not (basis or is_test):
            return 0, 0
        here = found.bases == basis
        return int((here & (matches == 1)).sum()), int((here & is_wrong).sum())

    @contextmanager
    def _noted(self, watch: ReceiverWatch) -> Iterator[None]:
        """Keep what the receiver's monitors are told."""
        see: Callable[..., None] = watch.see

        def noting(*given: Any, **named: Any) -> None:
            self.seen.receiver.append((given, named))
            see(*given, **named)

        watch.see = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            watch.see = see  # type: ignore[method-assign]

    async def hour(self, bursts: int, trains: int, glance_s: int) -> None:
        """Sample an hour of service.

        Bursts of whole trains in a row, the first at the hour's begin and the last at its end; between them every
        `glance_s` a train of a thousand clicks or two, by which a clock is followed as one in service is all the time.
        Before each of them the polarisation is where a loop that never slept would have it.
        """
        begin_ps, whole = self.now_ps, self.config.protocol.train_blocks
        burst_ps = round(trains * whole * BLOCK_PULSES * self.link.timeline.planned.period_ps)
        starts = [round(number * (_HOUR_PS - burst_ps) / (bursts - 1)) for number in range(bursts)]
        glances = range(glance_s * _SECOND_PS, starts[-1], glance_s * _SECOND_PS)
        for start_ps, is_burst in sorted([*((at, True) for at in starts), *((at, False) for at in glances)]):
            self.now_ps = max(self.now_ps, begin_ps + start_ps)
            await self.align(LINK)
            for _ in range(trains if is_burst else 1):
                await self.train(None if is_burst else self._glance_blocks())

    def _glance_blocks(self) -> int:
        response = self.link.course.cell(self.now_ps).response
        assert response is not None
        return math.ceil(_GLANCE_CLICKS / (response.registered_prob * BLOCK_PULSES))
