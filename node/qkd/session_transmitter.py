"""node.qkd.session_transmitter: one session at the transmitter: hello, settlement, sifting, blocks. Edge.

Trains are emitted by node.qkd.emission beside it.
"""

import asyncio
from typing import Final

import numpy as np
import numpy.typing as npt

from node.context import NodeContext
from node.control.transmitter_watch import TransmitterWatch
from node.devices.pulses import pulse_indices, whole_array
from node.devices.transmitter import Transmitter
from node.keys.records import BlockState
from node.link_state import LinkRecord
from node.qkd import bits as packed
from node.qkd.block import BlockJob
from node.qkd.block_transmitter import transmit_block
from node.qkd.errors import LinkTroubleError, PeerSilentError, SessionRefusedError
from node.qkd.monitor import CommissioningTally, Monitor
from node.qkd.partners import Partners
from node.qkd.protocols import level_count, protocol_of
from node.qkd.settlement import Holding, decide
from node.qkd.sifting import BlockAssembler, RawBlock, sift_transmitter
from node.qkd.slot_search import LEAST_COMPARED, SLIPPED_PROB, missed_slots
from node.qkd.train import Train
from node.qkd.wire import GREETING_S, HEARTBEAT_MS, SILENCE_MS, Wire
from qnetem.runtime.clock import PS_PER_S, to_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import link_session_pb2, process_pb2

__all__ = ["TransmitterSession"]

_BLOCK_EVENTS: Final = ("parity_query", "block_corrected", "block_prepared", "block_committed")
# what may be in post-processing at a time: enough small blocks to hide round trips, few enough large ones for memory
_BLOCKS_LIMIT: Final = 12
_BITS_LIMIT: Final = 24_000_000
# of the clicks that have a partner in their own slot
_PARTNERS_SHARE: Final = 0.25


class TransmitterSession:
    """One session, from hello to its end."""

    def __init__(
        self,
        config: process_pb2.NodeLinkConfig,
        node: NodeContext,
        record: LinkRecord,
        device: Transmitter,
        wire: Wire[link_session_pb2.SessionRequest, link_session_pb2.SessionResponse],
        counter: int,
    ) -> None:
        """Prepare session number `counter` of this incarnation."""
        self.config = config
        self.node = node
        self.record = record
        self.device = device
        self.wire = wire
        wire.name_session(node.incarnation, counter)
        self._counter = counter
        self._protocol = protocol_of(config)
        self._level_count = level_count(config)
        self._assembler = BlockAssembler(config.protocol.block_ramp_bits, self._level_count)
        # what the transmitter's own detectors have seen of pairs
        self.partners = Partners() if self._protocol.has_pairs else None
        self._trains: dict[int, Train] = {}
        self._jobs: dict[str, BlockJob] = {}
        self._tasks = asyncio.TaskGroup()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.is_receiving = asyncio.Event()
        self.monitor = Monitor(config.protocol.qber_degraded_prob, config.protocol.qber_abort_prob)
        self.watch = TransmitterWatch(config.planned)
        self._findings: link_session_pb2.ReceiverFindings | None = None
        self._has_findings = asyncio.Event()
        self.qber_prob = 0.0

    async def greet(self) -> None:
        """Agree with the receiver on the session, and settle the blocks in doubt.

        Raises:
            SessionRefusedError: The receiver does not go along.
            PeerSilentError: It does not answer, though its heart may beat.
        """
        try:
            async with asyncio.timeout(GREETING_S):
                await self._hello()
                await self._settle()
        except TimeoutError:
            raise PeerSilentError from None

    async def _hello(self) -> None:
        await self.wire.send(
            hello=link_session_pb2.SessionHello(
                link_id=self.config.link_id,
                incarnation=self.node.incarnation,
                session_counter=self._counter,
                protocol=self.config.protocol,
                heartbeat_ms=HEARTBEAT_MS,
                silence_ms=SILENCE_MS,
            )
        )
        answer = (await self._expect("hello")).hello
        if answer.session_counter != self._counter or answer.link_id != self.config.link_id:
            raise SessionRefusedError(f"link {self.config.link_id}: the answer belongs to another session")

    async def _expect(self, event: str) -> link_session_pb2.SessionResponse:
        message = await self.wire.receive()
        kind = "the end" if message is None else message.WhichOneof("event")
        if message is None or kind != event:
            raise SessionRefusedError(f"link {self.config.link_id}: {kind} instead of {event}")
        return message

    async def _settle(self) -> None:
        store, link_id = self.node.store, self.config.link_id
        # none of them was decided: a session that is over decides nothing any more
        for block in await store.blocks_in_doubt(link_id):
            if block.state is BlockState.PREPARED:
                await store.abort(block.block_id)
        asked = [block.block_id for block in await self.wire.settled(await self._expect("settlement"))]
        if any(not block_id.startswith(f"{link_id}/") for block_id in asked):
            raise SessionRefusedError(f"link {link_id}: a block of another link is in doubt")
        states = await store.block_states(asked)
        answers = decide(asked, {block_id: state is BlockState.AVAILABLE for block_id, state in states.items()})
        unconfirmed = {block.block_id for block in await store.blocks_in_doubt(link_id)}
        listed = {**dict.fromkeys(unconfirmed, Holding.HOLDING_AVAILABLE), **answers}
        await self.wire.settle(
            link_session_pb2.Settlement(
                blocks=[Holding(block_id=block_id, holding=holding) for block_id, holding in listed.items()]
            )
        )
        for told in await self.wire.settled(await self._expect("settlement")):
            if told.block_id not in unconfirmed:
                continue
            if told.holding == Holding.HOLDING_AVAILABLE:
                await store.confirm(told.block_id)
            else:
                await store.quarantine(told.block_id)
                self.node.process.journal.write("key.block.quarantined", link_id=link_id, block_id=told.block_id)
        if listed:
            self.node.process.journal.write("session.settled", link_id=link_id, blocks_count=len(listed))

    async def read_forever(self) -> None:
        """Serve the receiver's messages until it ends the stream; blocks are processed beside.

        Raises:
            LinkTroubleError: The receiver has ended the stream, or went silent.
        """
        async with self._tasks:
            while (message := await self.wire.receive()) is not None:
                self.record.round_trip_s = self.wire.round_trip_s
                kind = message.WhichOneof("event")
                if kind == "sift_report":
                    await self._sift(message.sift_report)
                elif kind == "receiver":
                    if message.receiver.is_receiving:
                        self.is_receiving.set()
                    else:
                        self.is_receiving.clear()
                elif kind == "findings":
                    self._findings = message.findings
                    self.monitor.see_findings(message.findings.aborting, message.findings.degrading)
                    self._has_findings.set()
                elif kind in _BLOCK_EVENTS:
                    job = self._jobs.get(getattr(message, kind).block_id)
                    # a late message about a block that was dropped here
                    if job is not None:
                        job.deliver(message)
                else:
                    raise SessionRefusedError(f"link {self.config.link_id}: unexpected {kind}")
            # ends the blocks in post-processing too: the next session settles them
            raise LinkTroubleError("peer-closed")

    async def findings_after(self, train_id: int) -> link_session_pb2.ReceiverFindings:
        """Return what the receiver found once it has the answers to all of a test train."""
        while (found := self._findings) is None or found.train_id < train_id:
            self._has_findings.clear()
            await self._has_findings.wait()
        return found

    async def drained(self) -> None:
        """Wait until no block is in post-processing."""
        while self._jobs:
            self._has_room.clear()
            await self._has_room.wait()

    async def has_room(self) -> None:
        """Wait until post-processing keeps up."""
        while len(self._jobs) >= _BLOCKS_LIMIT or sum(len(job.raw.z_bits) for job in self._jobs.values()) > _BITS_LIMIT:
            self._has_room.clear()
            await self._has_room.wait()

    async def announce(self, blocks: range, start_ps: int, tally: CommissioningTally | None) -> Train:
        """Tell the receiver of a train that is about to be emitted."""
        train = Train(blocks, start_ps, tally)
        self._trains[blocks.start] = train
        await self.wire.send(
            train=link_session_pb2.TrainNotice(
                train_id=blocks.start, block_count=len(blocks), is_test=tally is not None, start=to_time(start_ps)
            )
        )
        return train

    async def _sift(self, report: link_session_pb2.SiftReport) -> None:
        train = self._trains.get(report.train_id)
        if train is None or report.part != train.next_part:
            raise SessionRefusedError(f"train {report.train_id}: part {report.part} was not expected")
        train.next_part += 1
        indices = self._reported_pulses(report, train)
        await self._answer(report, train, indices)
        train.click_count += len(indices)
        now_ps = self.node.process.clock.now_ps()
        self.record.clicks.add(len(indices), now_ps)
        self.monitor.see_x_bits(report.compared_x_count, report.x_error_count, report.aligned_x_count)
        if report.is_last:
            del self._trains[report.train_id]
            if self.partners is not None:
                self.partners.forget(report.train_id)
            if train.tally is not None:
                train.tally.train_count += 1
            self.monitor.see_train(0 if train.is_dark else train.click_count)
            train.is_sifted.set()

    def _reported_pulses(self, report: link_session_pb2.SiftReport, train: Train) -> npt.NDArray[np.uint64]:
        """Return the pulses that a report names. Each is disclosed once, and not before it was emitted."""
        name = f"train {report.train_id}"
        counts = whole_array(report.block_counts, "<u4", f"{name}: block counts")
        offsets = whole_array(report.offsets, "<i4", f"{name}: slots")
        if not (train.blocks.start <= report.first_block and report.first_block + len(counts) <= train.blocks.stop):
            raise SessionRefusedError(f"{name}: blocks outside of it were reported")
        indices = pulse_indices(report.first_block, counts, offsets)
        if not len(indices):
            return indices
        first, last = int(indices[0]), int(indices[-1])
        if first <= train.last_index or not bool((indices[1:] > indices[:-1]).all()):
            raise SessionRefusedError(f"{name}: a pulse was reported twice or out of order")
        if not (train.blocks.start * BLOCK_PULSES <= first and last < train.blocks.stop * BLOCK_PULSES):
            raise SessionRefusedError(f"{name}: a click outside of it was reported")
        since_start = (last - train.blocks.start * BLOCK_PULSES) * PS_PER_S / self.device.clock_hz
        if self.node.process.clock.now_ps() < train.start_ps + since_start:
            raise SessionRefusedError(f"{name}: a pulse was reported before it was emitted")
        train.last_index = last
        return indices

    async def _answer(self, report: link_session_pb2.SiftReport, train: Train, indices: npt.NDArray[np.uint64]) -> None:
        bases, intensities, bits = self.device.choices(indices)
        is_test, has_bit = train.tally is not None, None
        end_block = report.first_block + len(report.block_counts) // 4
        if self.partners is not None:
            has_bit, bits = await self.partners.outcomes(report.train_id, end_block, indices, bits)
        receiver_bases = packed.unpack(report.bases, len(indices))
        sifted = sift_transmitter(bases, intensities, bits, receiver_bases, is_test=is_test, has_bit=has_bit)
        levels = [int(np.count_nonzero(intensities == level)) for level in range(self._level_count)]
        can_match = len(indices) if has_bit is None else int(np.count_nonzero(has_bit))
        match_count = len(sifted.events)
        self.watch.see_report((end_block - report.first_block) * BLOCK_PULSES, levels, match_count, can_match)
        train.is_dark = self.watch.is_dark(
            train.click_count + len(indices), (end_block - train.blocks.start) * BLOCK_PULSES
        )
        errors = shift = 0
        if is_test:
            values = packed.unpack(report.values, len(indices))
            errors = int((values != bits)[sifted.matches == 1].sum())
            is_slipped = errors >= SLIPPED_PROB * match_count and match_count >= LEAST_COMPARED
            if self.partners is not None:
                # in slots of other pulses the transmitter's own detectors saw next to nothing
                is_slipped |= can_match < _PARTNERS_SHARE * self.config.planned.transmitter_efficiency * len(indices)
            # once a train: what the receiver had reported before it knew is as wrong; and darks have no slots
            if is_slipped and not (train.is_slipped or train.is_dark):
                shift = await missed_slots(self.device, self.partners, report.train_id, indices, receiver_bases, values)
        await self.wire.send(
            sift_answer=link_session_pb2.SiftAnswer(
                train_id=report.train_id,
                part=report.part,
                matches=packed.pack(sifted.matches),
                intensities=packed.pack_levels(intensities, self._level_count),
                disclosed=packed.pack(sifted.disclosed),
                slot_shift=shift,
            )
        )
        if train.tally is not None:
            train.is_slipped |= shift != 0
            if not train.is_dark:
                train.tally.add(len(indices), *((0, 0) if train.is_slipped else (match_count, errors)))
            return
        self.record.sifted.add(sifted.z_count, self.node.process.clock.now_ps())
        for raw in self._assembler.add(sifted.events):
            self._start_block(raw)

    def _start_block(self, raw: RawBlock) -> None:
        number = f"{raw.number}{self._protocol.block_suffix}"
        block_id = f"{self.config.link_id}/{self.node.incarnation}.{self._counter}.{number}"
        job = BlockJob(block_id, raw, self.config, self._protocol, self.node, self.record, self.wire)
        self._jobs[block_id] = job
        self._tasks.create_task(self._run_block(job))

    async def _run_block(self, job: BlockJob) -> None:
        try:
            async with job.in_time():
                secret_bits = await transmit_block(job, self.qber_prob)
        finally:
            del self._jobs[job.block_id]
            self._has_room.set()
        self.qber_prob = self.record.qber_prob
        self.monitor.see_block(secret_bits, self.record.qber_prob)
