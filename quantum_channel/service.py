"""quantum_channel.service: the process: both ends of every link, and operators who change links. Wiring."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

from qnetem.runtime import allocator, rpc
from qnetem.runtime.errors import BadInputError, DeniedError, NotFoundError
from qnetem.runtime.process import Process
from qnetem.v1 import parameters_pb2, process_pb2, quantum_channel_pb2, quantum_channel_pb2_grpc
from quantum_channel import wire
from quantum_channel.layers import Layer
from quantum_channel.link import Link
from quantum_channel.metrics import LinkCollector
from quantum_channel.nature import Ends, Nature
from quantum_channel.parameters import BadLinkError
from quantum_channel.probe import dark_response
from quantum_channel.sampler import Keys, Sampler
from quantum_channel.states import cell_state, change_fields, link_state, told_fields
from quantum_channel.time_transfer import stamps
from quantum_channel.train import BadTrainError

__all__ = ["QuantumChannelServicer", "QuantumLinkServicer", "serve"]

_PEER: Final = "qnetem.v1.QuantumChannelService"
_MANAGEMENT: Final = "qnetem.v1.QuantumLinkService"
_HELLO_S: Final = 5.0


def _link(links: Mapping[str, Nature], link_id: str) -> Nature:
    nature = links.get(link_id)
    if nature is None:
        raise NotFoundError(f"no quantum link {link_id!r} here")
    return nature


def _admit(context: Any, uri: str, role: str, link_id: str) -> None:
    caller = rpc.caller_uri(context)
    if caller != uri:
        raise DeniedError(f"{caller} is not the {role} of link {link_id}")


def _admit_end(context: Any, nature: Nature, link_id: str) -> None:
    if rpc.caller_uri(context) != nature.ends.transmitter:
        _admit(context, nature.ends.receiver, "end", link_id)


class QuantumChannelServicer(quantum_channel_pb2_grpc.QuantumChannelServiceServicer):
    """The two ends of each link."""

    def __init__(self, links: Mapping[str, Nature], process: Process) -> None:
        """Serve the ends of `links`; what devices are told goes to the process's journal."""
        self._links = links
        self._process = process

    # gRPC takes handlers that write; the stubs know only such as yield
    async def Transmit(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Carry the trains of the transmitter of one link."""
        requests = aiter(request_iterator)
        try:
            async with asyncio.timeout(_HELLO_S):
                first: quantum_channel_pb2.TransmitRequest = await anext(requests)
        except (StopAsyncIteration, TimeoutError):
            raise BadTrainError("a stream without a hello") from None
        if first.WhichOneof("event") != "hello":
            raise BadTrainError("a stream begins with a hello")
        nature = _link(self._links, first.hello.link_id)
        _admit(context, nature.ends.transmitter, "transmitter", first.hello.link_id)
        async with nature.transmitter.taken():
            await nature.carry_trains(requests, context.write)

    async def Receive(self, request: quantum_channel_pb2.ReceiveRequest, context: Any) -> None:  # type: ignore[override]
        """Hand clicks to the receiver of one link."""
        nature = _link(self._links, request.link_id)
        _admit(context, nature.ends.receiver, "receiver", request.link_id)
        async with nature.receiver.taken():
            await nature.deliver_forever(context.write)

    async def Align(self, request: quantum_channel_pb2.AlignRequest, context: Any) -> quantum_channel_pb2.AlignResponse:
        """Turn the receiver's polarisation back, from the next block on."""
        nature = _link(self._links, request.link_id)
        _admit(context, nature.ends.receiver, "receiver", request.link_id)
        nature.link.align(self._process.clock.now_ps())
        self._told(nature, "aligned", context)
        return quantum_channel_pb2.AlignResponse(effective_from_block=nature.link.effective_from_block)

    async def Tune(self, request: quantum_channel_pb2.TuneRequest, context: Any) -> quantum_channel_pb2.TuneResponse:
        """Trim what is an end's own, from the next block on."""
        nature = _link(self._links, request.link_id)
        _admit_end(context, nature, request.link_id)
        gate_offset_ps = request.gate_offset_ps if request.HasField("gate_offset_ps") else None
        trim_ratio = request.intensity_trim_ratio if request.HasField("intensity_trim_ratio") else None
        if gate_offset_ps is not None:
            _admit(context, nature.ends.receiver, "receiver", request.link_id)
        if trim_ratio is not None:
            _admit(context, nature.ends.transmitter, "transmitter", request.link_id)
        now_ps = self._process.clock.now_ps()
        nature.link.tune(now_ps, gate_offset_ps=gate_offset_ps, intensity_trim_ratio=trim_ratio)
        self._told(nature, "tuned", context)
        return quantum_channel_pb2.TuneResponse(effective_from_block=nature.link.effective_from_block)

    async def TransferTime(
        self, request: quantum_channel_pb2.TransferTimeRequest, context: Any
    ) -> quantum_channel_pb2.TransferTimeResponse:
        """Exchange a signal each way between the two ends; answer when the second one is back."""
        nature = _link(self._links, request.link_id)
        _admit_end(context, nature, request.link_id)
        clock = self._process.clock
        read = stamps(nature.link, clock.now_ps())
        await clock.sleep_until(read.back_ps)
        t1_ps, t2_ps, t3_ps, t4_ps = read.read_ps
        return quantum_channel_pb2.TransferTimeResponse(t1_ps=t1_ps, t2_ps=t2_ps, t3_ps=t3_ps, t4_ps=t4_ps)

    def _told(self, nature: Nature, how: str, context: Any) -> None:
        self._process.journal.write(
            "quantum_channel.link.changed", how=how, by=rpc.caller_uri(context), **told_fields(nature.link)
        )


class QuantumLinkServicer(quantum_channel_pb2_grpc.QuantumLinkServiceServicer):
    """Settings and state of links, for operators."""

    def __init__(self, links: Mapping[str, Nature], process: Process) -> None:
        """Serve `links`; changes go to the process's journal and telemetry."""
        self._links = links
        self._process = process

    async def SetLink(
        self, request: quantum_channel_pb2.SetLinkRequest, context: Any
    ) -> quantum_channel_pb2.SetLinkResponse:
        """Merge settings of a link, or lay them over it for a while, from the next block on."""
        nature = _link(self._links, request.link_id)
        settings, now_ps = wire.settings_from_message(request.settings), self._process.clock.now_ps()
        nature.link.set(settings, now_ps, request.ramp_s, request.duration_s)
        return quantum_channel_pb2.SetLinkResponse(state=self._changed(nature, "set", context))

    async def ResetLink(
        self, request: quantum_channel_pb2.ResetLinkRequest, context: Any
    ) -> quantum_channel_pb2.ResetLinkResponse:
        """Forget settings of a link, from the next block on."""
        nature = _link(self._links, request.link_id)
        nature.link.reset(request.fields, self._process.clock.now_ps())
        return quantum_channel_pb2.ResetLinkResponse(state=self._changed(nature, "reset", context))

    async def ReplaceLink(
        self, request: quantum_channel_pb2.ReplaceLinkRequest, context: Any
    ) -> quantum_channel_pb2.ReplaceLinkResponse:
        """Have settings and layers in the place of all that are in force, from the next block on."""
        nature = _link(self._links, request.link_id)
        now_ps = self._process.clock.now_ps()
        layers = _layers(request.link_id, request.layers, nature.link.from_now_ps(now_ps))
        nature.link.replace(wire.settings_from_message(request.settings), layers, now_ps)
        return quantum_channel_pb2.ReplaceLinkResponse(state=self._changed(nature, "replaced", context))

    async def GetLink(
        self, request: quantum_channel_pb2.GetLinkRequest, context: Any
    ) -> quantum_channel_pb2.GetLinkResponse:
        """Return the state of a link."""
        return quantum_channel_pb2.GetLinkResponse(state=self._state(_link(self._links, request.link_id)))

    async def ProbeLink(
        self, request: quantum_channel_pb2.ProbeLinkRequest, context: Any
    ) -> AsyncIterator[quantum_channel_pb2.ProbeLinkResponse]:
        """Measure a link as it is now."""
        nature = _link(self._links, request.link_id)
        now_ps = self._process.clock.now_ps()
        course = nature.link.course
        cell = course.cell(now_ps)
        yield quantum_channel_pb2.ProbeLinkResponse(state=cell_state(nature, now_ps, cell))
        response = cell.response
        if response is not None:
            if request.is_dark:
                response = dark_response(cell, course.controls)
            async for part in nature.probe.run(response, cell.parameters.period_ps, request.click_count):
                yield part

    def _changed(self, nature: Nature, how: str, context: Any) -> quantum_channel_pb2.QuantumLinkState:
        link = nature.link
        self._process.journal.write(
            "quantum_channel.link.changed", how=how, by=rpc.caller_uri(context), **change_fields(link)
        )
        is_up = link.at(link.effective_since_ps).is_up
        self._process.telemetry.publish(
            f"quantum/{link.link_id}", {"link_id": link.link_id, "is_up": is_up, **link.settings}
        )
        return self._state(nature)

    def _state(self, nature: Nature) -> quantum_channel_pb2.QuantumLinkState:
        return link_state(nature, self._process.clock.now_ps())


def _layers(link_id: str, messages: Iterable[parameters_pb2.SettingsLayer], now_ps: int) -> list[Layer]:
    try:
        return [wire.layer_from_message(message, now_ps) for message in messages]
    except BadInputError as error:
        raise BadLinkError(f"link {link_id}: {error}") from None


def _nature(config: process_pb2.QuantumLinkConfig, process: Process, sampler: Sampler, pool: Executor) -> Nature:
    try:
        keys = Keys.of(config.nature_secret, config.transmitter_secret, config.receiver_secret)
        planned = wire.parameters_from_message(config.planned)
        series = [wire.series_from_message(message) for message in config.series]
    except BadInputError as error:
        raise BadLinkError(f"link {config.link_id}: {error}") from None
    link = Link(
        config.link_id,
        planned,
        wire.settings_from_message(config.settings),
        config.nature_secret,
        layers=_layers(config.link_id, config.layers, process.clock.now_ps()),
        series=series,
    )
    return Nature(link, keys, Ends(config.transmitter_uri, config.receiver_uri), process.clock, sampler, pool)


def _fastest_sampler(process: Process) -> Sampler:
    try:
        import quantum_channel.raw_time_compiled  # noqa: F401
        from quantum_channel.sampler_compiled import sample  # imports numba
    except ImportError as error:
        from quantum_channel.sampler import sample

        process.log.warning("quantum_channel.sampler.not_compiled", detail=str(error))
    return sample


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Stand for nature on the configured links, and serve operators, while the block runs.

    Raises:
        BadInputError: The configuration is not a quantum channel's, or not usable; names the link and field.
        StartError: An address cannot be bound; names it.
    """
    config = process.config
    if not config.HasField("quantum_channel"):
        raise BadInputError(f"{process.name}: not the configuration of a quantum channel")
    for name in ("peer", "management"):
        if not getattr(config.listeners, name):
            raise BadInputError(f"{process.name}: listeners.{name} is missing")
    allocator.keep_small_blocks()
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="sampler") as pool:
        sampler = await asyncio.get_running_loop().run_in_executor(pool, _fastest_sampler, process)
        links: dict[str, Nature] = {}
        for link_config in config.quantum_channel.links:
            if link_config.link_id in links:
                raise BadInputError(f"link {link_config.link_id}: given twice")
            links[link_config.link_id] = _nature(link_config, process, sampler, pool)
        process.metrics.register(LinkCollector(links, process.clock))
        peer = rpc.Registration(
            quantum_channel_pb2_grpc.add_QuantumChannelServiceServicer_to_server,
            QuantumChannelServicer(links, process),
            _PEER,
            {
                "Transmit": [nature.ends.transmitter for nature in links.values()],
                "Receive": [nature.ends.receiver for nature in links.values()],
                "*": [uri for nature in links.values() for uri in (nature.ends.transmitter, nature.ends.receiver)],
            },
        )
        management = rpc.Registration(
            quantum_channel_pb2_grpc.add_QuantumLinkServiceServicer_to_server,
            QuantumLinkServicer(links, process),
            _MANAGEMENT,
            {"*": process.operators},
        )
        operated = [management, *process.health.registrations((_MANAGEMENT,), process.operators)]
        async with (
            rpc.serve(config.listeners.peer, process.credentials, [peer], grace_s=0.0),
            rpc.serve(config.listeners.management, process.credentials, operated),
        ):
            await process.health.set_links(True)
            for link_id in links:
                process.log.info("quantum_channel.link.ready", link_id=link_id)
            yield
