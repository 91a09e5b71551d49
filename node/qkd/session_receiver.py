"""node.qkd.session_receiver: one session at the receiver: hello, settlement, reports of clicks, blocks. Edge."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from node.context import NodeContext
from node.devices.receiver import Detections
from node.keys.records import BlockState
from node.link_state import LinkRecord, LinkState
from node.qkd import bits as packed
from node.qkd.block import BlockJob, shortened
from node.qkd.block_receiver import receive_block
from node.qkd.errors import LinkTroubleError, PeerSilentError, SessionRefusedError
from node.qkd.protocols import level_count, protocol_of
from node.qkd.receiver_control import Answered, ReceiverControl
from node.qkd.settlement import Holding
from node.qkd.sifting import BlockAssembler, RawBlock, sift_receiver
from node.qkd.wire import GREETING_S, HEARTBEAT_MS, SILENCE_MS, Wire
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import QnetemError
from qnetem.v1 import link_session_pb2, process_pb2
from quantum_channel.client import Clicks, QuantumChannelClient

__all__ = ["ReceiverSession"]

_BLOCK_EVENTS: Final = ("parity_answer", "block_seed", "block_decision")
_REDIAL_S: Final = 0.25
# what a peer may leave open: trains noticed and not over, blocks sifted and not started
_TRAINS_LIMIT: Final = 16
_TRAIN_BLOCKS_LIMIT: Final = 1 << 16
_RAW_LIMIT: Final = 64


@dataclass(frozen=True)
class _Reported:
    """A part that was reported and is not answered yet."""

    train_id: int
    part: int
    detections: Detections
    is_test: bool
    is_last: bool
    epoch: int


class ReceiverSession:
    """One session, from the answer to the transmitter's hello to its end."""

    def __init__(
        self,
        config: process_pb2.NodeLinkConfig,
        node: NodeContext,
        record: LinkRecord,
        control: ReceiverControl,
        wire: Wire[link_session_pb2.SessionResponse, link_session_pb2.SessionRequest],
        hello: link_session_pb2.SessionHello,
    ) -> None:
        """Prepare the session that the transmitter opens with `hello`."""
        self._config = config
        self._node = node
        self._record = record
        self._control = control
        self._wire = wire
        wire.name_session(hello.incarnation, hello.session_counter)
        self._hello = hello
        self._protocol = protocol_of(config)
        self._level_count = level_count(config)
        self._assembler = BlockAssembler(config.protocol.block_ramp_bits, self._level_count)
        self._raw: dict[int, RawBlock] = {}
        self._jobs: dict[str, BlockJob] = {}
        self._tasks = asyncio.TaskGroup()
        self._trains: dict[int, link_session_pb2.TrainNotice] = {}
        self._first_train = self._last_train = -1
        self._noticed = asyncio.Event()
        self._reported: deque[_Reported] = deque()
        self._compared_x = self._x_errors = self._aligned_x = 0
        self._told = control.verdict
        self.said_down_for = ""

    async def run(self, channel: QuantumChannelClient) -> None:
        """Serve the session until the transmitter ends it.

        Raises:
            LinkTroubleError: It is over; says why.
        """
        try:
            async with asyncio.timeout(GREETING_S):
                await self._greet()
        except TimeoutError:
            raise PeerSilentError from None
        async with self._tasks:
            self._tasks.create_task(self._detect_forever(channel))
            while (message := await self._wire.receive()) is not None:
                self._record.round_trip_s = self._wire.round_trip_s
                await self._take(message)
            raise LinkTroubleError("peer-closed")

    async def _greet(self) -> None:
        store, link_id = self._node.store, self._config.link_id
        await self._wire.send(
            hello=link_session_pb2.SessionHello(
                link_id=link_id,
                incarnation=self._node.incarnation,
                session_counter=self._hello.session_counter,
                protocol=self._config.protocol,
                heartbeat_ms=HEARTBEAT_MS,
                silence_ms=SILENCE_MS,
            )
        )
        doubtful = {
            block.block_id for block in await store.blocks_in_doubt(link_id) if block.state is BlockState.PREPARED
        }
        await self._wire.settle(
            link_session_pb2.Settlement(
                blocks=[Holding(block_id=b, holding=Holding.HOLDING_PREPARED) for b in sorted(doubtful)]
            )
        )
        message = await self._wire.receive()
        if message is None or message.WhichOneof("event") != "settlement":
            raise SessionRefusedError(f"link {link_id}: no settlement")
        answers = {block.block_id: block.holding for block in await self._wire.settled(message)}
        if any(not block_id.startswith(f"{link_id}/") for block_id in answers):
            raise SessionRefusedError(f"link {link_id}: a block of another link is settled")
        for block_id in doubtful & answers.keys():
            if answers[block_id] == Holding.HOLDING_AVAILABLE:
                await store.commit(block_id)
            else:
                await store.abort(block_id)
        states = await store.block_states(answers)
        held = [
            Holding(
                block_id=block_id,
                holding=Holding.HOLDING_AVAILABLE
                if states.get(block_id) is BlockState.AVAILABLE
                else Holding.HOLDING_UNKNOWN,
            )
            for block_id in answers
        ]
        await self._wire.settle(link_session_pb2.Settlement(blocks=held))

    async def _take(self, message: link_session_pb2.SessionRequest) -> None:
        kind = message.WhichOneof("event")
        if kind == "train":
            self._notice(message.train)
            await self._control.expect(message.train, self._assembler.number)
        elif kind == "sift_answer":
            await self._sift(message.sift_answer)
        elif kind == "link_state":
            self._follow(message.link_state)
        elif kind == "block_start":
            self._start_block(message.block_start)
        elif kind in _BLOCK_EVENTS:
            job = self._jobs.get(getattr(message, kind).block_id)
            # a late message about a block that was dropped here
            if job is not None:
                job.deliver(message)
        else:
            raise SessionRefusedError(f"link {self._config.link_id}: unexpected {kind}")

    def _follow(self, notice: link_session_pb2.LinkStateNotice) -> None:
        if notice.state not in [int(state) for state in LinkState]:
            raise SessionRefusedError(f"link {self._config.link_id}: {notice.state} is no state of a link")
        state, reason = LinkState(notice.state), shortened(notice.reason)
        self.said_down_for = reason if state is LinkState.DOWN else ""
        self._record.enter(state, reason)

    def _notice(self, train: link_session_pb2.TrainNotice) -> None:
        if train.train_id <= self._last_train:
            raise SessionRefusedError(f"train {train.train_id}: after train {self._last_train}")
        if len(self._trains) >= _TRAINS_LIMIT or not 1 <= train.block_count <= _TRAIN_BLOCKS_LIMIT:
            raise SessionRefusedError(f"train {train.train_id}: one too many, or of {train.block_count} blocks")
        if self._first_train < 0:
            self._first_train = train.train_id
        self._last_train = train.train_id
        self._trains[train.train_id] = train
        self._noticed.set()

    async def _train(self, train_id: int) -> link_session_pb2.TrainNotice | None:
        """Wait until a train was noticed; None for one that belongs to an earlier session."""
        while train_id not in self._trains:
            if self._first_train >= 0 and train_id < self._last_train:
                return None
            self._noticed.clear()
            await self._noticed.wait()
        return self._trains[train_id]

    async def _detect_forever(self, channel: QuantumChannelClient) -> None:
        was_receiving = True
        while True:
            try:
                async with channel.receive(self._config.link_id) as stream:
                    await self._control.prepare(channel)
                    was_receiving = True
                    await self._wire.send(receiver=link_session_pb2.ReceiverNotice(is_receiving=True))
                    part = 0
                    async for clicks in stream:
                        part = await self._report(clicks, part)
                why = "the stream has ended"
            except QnetemError as error:
                why = str(error)
            if was_receiving:
                self._node.process.log.warning("receiver.stream.lost", link_id=self._config.link_id, detail=why)
                await self._wire.send(receiver=link_session_pb2.ReceiverNotice(is_receiving=False))
            was_receiving = False
            await asyncio.sleep(_REDIAL_S)

    async def _report(self, clicks: Clicks, part: int) -> int:
        train = await self._train(clicks.train_id)
        if train is None:
            return 0
        detections, epoch = await self._control.detect(clicks, train)
        if not train.is_test and self._control.verdict != self._told:
            await self._tell(train.train_id)
        self._reported.append(_Reported(train.train_id, part, detections, train.is_test, clicks.is_last, epoch))
        if clicks.is_last:
            del self._trains[train.train_id]
        now_ps = self._node.process.clock.now_ps()
        self._record.clicks.add(len(detections.offsets), now_ps)
        self._record.lag_s = clicks.lag_ps / PS_PER_S
        await self._wire.send(
            sift_report=link_session_pb2.SiftReport(
                train_id=train.train_id,
                part=part,
                is_last=clicks.is_last,
                first_block=detections.first_block,
                block_counts=detections.block_counts.astype("<u4").tobytes(),
                offsets=detections.offsets.astype("<i4").tobytes(),
                bases=packed.pack(detections.bases),
                values=packed.pack(detections.bits) if train.is_test else b"",
                double_click_count=detections.double_click_count,
                compared_x_count=self._compared_x,
                x_error_count=self._x_errors,
                aligned_x_count=self._aligned_x,
            )
        )
        return 0 if clicks.is_last else part + 1

    async def _tell(self, train_id: int) -> None:
        self._told = self._control.verdict
        await self._wire.send(findings=self._control.findings(train_id))

    async def _sift(self, answer: link_session_pb2.SiftAnswer) -> None:
        if not self._reported or (self._reported[0].train_id, self._reported[0].part) != (answer.train_id, answer.part):
            raise SessionRefusedError(f"train {answer.train_id}: an answer to part {answer.part}, which is not next")
        reported = self._reported.popleft()
        found = reported.detections
        count = len(found.offsets)
        matches = packed.unpack(answer.matches, count)
        sifted = sift_receiver(
            found.bases,
            found.bits,
            matches,
            packed.unpack_levels(answer.intensities, count, self._level_count, "intensities of a sift answer"),
            packed.unpack(answer.disclosed, int((matches if reported.is_test else matches & found.bases).sum())),
            is_test=reported.is_test,
        )
        (z_count, x_count), (z_errors, x_errors) = sifted.compared_counts, sifted.error_counts
        part = Answered(
            range(found.first_block, found.first_block + len(found.block_counts)),
            (z_count, z_errors),
            (x_count, x_errors),
            answer.slot_shift,
            reported.epoch,
            reported.is_test,
            reported.is_last,
        )
        before_count = self._control.alignments_behind_count
        await self._control.answered(part, self._assembler.number)
        if self._control.alignments_behind_count > before_count:
            self._aligned_x = self._compared_x
        if reported.is_test:
            if reported.is_last:
                await self._tell(reported.train_id)
            return
        self._compared_x += sifted.compared_counts[1]
        self._x_errors += sifted.error_counts[1]
        if self._compared_x and not self._record.blocks_made_count:
            self._record.qber_prob = self._x_errors / self._compared_x
        self._record.sifted.add(sifted.z_count, self._node.process.clock.now_ps())
        for raw in self._assembler.add(sifted.events):
            self._raw[raw.number] = raw
        if len(self._raw) > _RAW_LIMIT:
            raise SessionRefusedError(f"link {self._config.link_id}: no block is started of {len(self._raw)}")

    def _start_block(self, start: link_session_pb2.BlockStart) -> None:
        hello = self._hello
        prefix = f"{self._config.link_id}/{hello.incarnation}.{hello.session_counter}."
        suffix = self._protocol.block_suffix
        raw = next((raw for raw in self._raw.values() if f"{prefix}{raw.number}{suffix}" == start.block_id), None)
        if raw is None:
            raise SessionRefusedError(f"block {shortened(start.block_id)}: is not a block of this session")
        del self._raw[raw.number]
        job = BlockJob(start.block_id, raw, self._config, self._protocol, self._node, self._record, self._wire)
        self._jobs[start.block_id] = job
        self._tasks.create_task(self._run_block(job, start))

    async def _run_block(self, job: BlockJob, start: link_session_pb2.BlockStart) -> None:
        try:
            async with job.in_time():
                await receive_block(job, start)
            if job.error_count is not None:
                self._control.see_key_block(job.raw.number, len(job.raw.z_bits), job.error_count)
        finally:
            del self._jobs[job.block_id]
