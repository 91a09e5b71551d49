"""The proxy between real sockets: order, delay, ends, resets, backpressure, up and down."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from classical_channel.link import Link, links_of
from classical_channel.proxy import forwarding
from qnetem.runtime.clock import Clock
from qnetem.runtime.errors import StartError
from qnetem.v1.parameters_pb2 import ClassicalParameters, ClassicalSettings
from qnetem.v1.process_pb2 import ClassicalPathConfig, ClockConfig

MS_PS = 10**9
LINK = "alice-bob"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Lane:
    """A path to a server, its link, and the address to dial."""

    link: Link
    host: str
    port: int

    @asynccontextmanager
    async def dialled(self) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def lane(
    behaviour: Behaviour | None, delay_ps: int = 0, jitter_ps: int = 0, port: int = 0
) -> AsyncIterator[Lane]:
    clock = Clock(ClockConfig(epoch_ns=0, scale=1.0, source=ClockConfig.SOURCE_MONOTONIC))
    planned = ClassicalParameters(delay_ps=delay_ps, jitter_ps=jitter_ps)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert behaviour is not None
        try:
            await behaviour(reader, writer)
        except OSError:
            pass  # a reset is what some tests want
        finally:
            writer.close()

    async with contextlib.AsyncExitStack() as stack:
        if behaviour is not None:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            stack.callback(server.close)
            port = server.sockets[0].getsockname()[1]
        path = ClassicalPathConfig(
            link_id=LINK,
            from_node="alice",
            to_node="bob",
            listen="127.0.0.1:0",
            forward_to=f"127.0.0.1:{port}",
            planned=planned,
        )
        links = links_of([path], clock)
        addresses = await stack.enter_async_context(forwarding([path], links))
        host, bound = addresses[f"alice>{LINK}"].rsplit(":", 1)
        yield Lane(links[LINK], host, int(bound))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # counters have no event
            await asyncio.sleep(0.001)


async def round_trip_s(streams: Streams, message: bytes = b"ping") -> float:
    reader, writer = streams
    start_s = time.monotonic()
    writer.write(message)
    assert await reader.readexactly(len(message)) == message
    return time.monotonic() - start_s


@pytest.mark.parametrize("delay_ps", [0, 3 * MS_PS], ids=["immediate", "slept"])
async def test_bytes_come_back_in_order_and_the_end_after_them(delay_ps: int) -> None:
    sent = bytes(range(256)) * 40_000  # 10 MB, more than any buffer on the way

    async with lane(echo, delay_ps, jitter_ps=MS_PS) as here, here.dialled() as (reader, writer):

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            received = await reader.read(-1)
        assert received == sent
        assert here.link.forwarded_bytes == 2 * len(sent)
        await until(lambda: here.link.connection_count == 0)


async def test_what_is_said_before_the_far_end_is_there_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # as 3.11.2 has it, and Debian 12 with it: who pauses a transport as it is made is read nevertheless
    def add_reader(self: Any, *arguments: Any) -> None:
        if not self.is_closing():
            self._loop._add_reader(*arguments)

    monkeypatch.setattr("asyncio.selector_events._SelectorTransport._add_reader", add_reader)
    loop = asyncio.get_running_loop()
    dial = loop.create_connection

    async def after_a_name_was_looked_up(*arguments: Any, **options: Any) -> Any:
        for _ in range(20):
            await asyncio.sleep(0)  # passes of the loop, in which it reads what has come
        return await dial(*arguments, **options)

    async with lane(echo) as here:
        with socket.create_connection((here.host, here.port)) as raw:
            raw.sendall(b"ping")
            monkeypatch.setattr(loop, "create_connection", after_a_name_was_looked_up)
            raw.setblocking(False)
            async with asyncio.timeout(20):
                assert await loop.sock_recv(raw, 4) == b"ping"


async def test_a_delay_is_made_one_way_in_each_direction() -> None:
    async with lane(echo, 30 * MS_PS) as here, here.dialled() as streams:
        taken_s = [await round_trip_s(streams) for _ in range(5)]
        assert min(taken_s) >= 0.060
        assert sorted(taken_s)[2] < 0.085  # each timer late by a millisecond, the rest for a busy machine
        achieved_ps = here.link.state().achieved_delay_ps
        assert 30 * MS_PS <= achieved_ps < 45 * MS_PS


async def test_a_delay_does_not_limit_bandwidth() -> None:
    size = 8 << 20

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(size)
        writer.write(b"!")

    async with lane(sink, 50 * MS_PS) as here, here.dialled() as (reader, writer):
        start_s = time.monotonic()
        writer.write(bytes(size))
        assert await reader.readexactly(1) == b"!"
        # a window of one read buffer per delay would take 32 of them
        assert 0.100 <= time.monotonic() - start_s < 1.0


async def test_a_new_delay_holds_for_what_is_sent_after_it() -> None:
    async with lane(echo, 0) as here, here.dialled() as streams:
        await round_trip_s(streams)
        here.link.set(ClassicalSettings(delay_ps=20 * MS_PS))
        assert await round_trip_s(streams) >= 0.040
        here.link.set(ClassicalSettings(delay_ps=0))
        assert await round_trip_s(streams) < 0.040


async def test_a_delay_for_one_way_is_made_in_that_way_alone() -> None:
    async with lane(echo, 0) as here, here.dialled() as streams:
        here.link.set(ClassicalSettings(back_delay_ps=40 * MS_PS))
        assert 0.040 <= min([await round_trip_s(streams) for _ in range(3)]) < 0.080
        forth, back = here.link.state().ways
        assert forth.achieved_delay_ps < 10 * MS_PS
        assert back.achieved_delay_ps >= 40 * MS_PS


async def test_a_link_that_loses_all_one_way_is_a_black_hole_there_and_open_the_other_way() -> None:
    heard = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        await reader.readexactly(1)
        heard.set()

    async with lane(speak) as here:
        here.link.set(ClassicalSettings(forth_loss_prob=1))
        async with here.dialled() as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(5) == b"hello"
            await until(lambda: here.link.forth.lost_count > 0)
            assert here.link.back.lost_count == 0
            assert not heard.is_set()
            # and mended, what was lost is sent again and arrives
            here.link.set(ClassicalSettings(forth_loss_prob=0))
            async with asyncio.timeout(10):
                await heard.wait()


async def test_what_is_under_way_is_not_overtaken_when_the_delay_falls() -> None:
    async with lane(echo, 50 * MS_PS) as here, here.dialled() as (reader, writer):
        await round_trip_s((reader, writer))
        writer.write(b"first ")
        for _ in range(5):  # the loop reads it in its next rounds, and holds it for 50 ms
            await asyncio.sleep(0)
        here.link.set(ClassicalSettings(delay_ps=0))
        writer.write(b"second")
        assert await reader.readexactly(12) == b"first second"


async def test_a_half_closed_connection_still_answers() -> None:
    async def answer_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read(-1)
        writer.write(b"all of " + question)

    async with lane(answer_after_the_end, 2 * MS_PS) as here, here.dialled() as (reader, writer):
        writer.write(b"it")
        writer.write_eof()
        assert await reader.read(-1) == b"all of it"


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("delay_ps", [0, 5 * MS_PS], ids=["immediate", "slept"])
async def test_a_reset_at_the_far_end_is_a_reset_at_the_near_end(delay_ps: int) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        reset_on_close(writer)

    async with lane(hang_up, delay_ps) as here, here.dialled() as (reader, writer):
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await until(lambda: here.link.connection_count == 0)


@pytest.mark.parametrize("delay_ps", [0, 5 * MS_PS], ids=["immediate", "slept"])
async def test_a_reset_at_the_near_end_is_a_reset_at_the_far_end(delay_ps: int) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(10):
                seen.put_nowait("data")
            seen.put_nowait("end")
        except ConnectionResetError:
            seen.put_nowait("reset")

    async with lane(watch, delay_ps) as here, here.dialled() as (_, writer):
        writer.write(b"x")
        assert await asyncio.wait_for(seen.get(), 10) == "data"
        reset_on_close(writer)
        assert await asyncio.wait_for(seen.get(), 10) == "reset"
        await until(lambda: here.link.connection_count == 0)


async def test_when_the_far_end_is_not_there_the_near_end_is_told(free_port: Callable[[], int]) -> None:
    async with lane(None, port=free_port()) as here, here.dialled() as (reader, _):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)
        await until(lambda: here.link.connection_count == 0)


@pytest.mark.parametrize("delay_ps", [0, 20 * MS_PS], ids=["immediate", "slept"])
async def test_a_reader_that_does_not_read_makes_the_writer_wait(delay_ps: int) -> None:
    may_read = asyncio.Event()
    total = 96 << 20

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_read.wait()
        count = 0
        while data := await reader.read(1 << 20):
            count += len(data)
        writer.write(struct.pack("<Q", count))

    async with lane(slow, delay_ps) as here, here.dialled() as (reader, writer):
        block, written = bytes(1 << 20), 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while written < total:
                    writer.write(block)
                    await writer.drain()
                    written += len(block)
        assert written < total  # the kernel's buffers, 64 MiB under way and the reader's own, no more
        may_read.set()
        while written < total:
            writer.write(block)
            await writer.drain()
            written += len(block)
        writer.write_eof()
        # the block whose drain() was cut short was written too
        assert struct.unpack("<Q", await reader.readexactly(8))[0] in (total, total + len(block))


async def test_a_link_that_goes_down_ends_connections_and_refuses_new_ones() -> None:
    async with lane(echo, 10 * MS_PS) as here:
        async with here.dialled() as streams:
            await round_trip_s(streams)
            streams[1].write(b"lost")
            here.link.set(ClassicalSettings(is_up=False))
            with pytest.raises(ConnectionResetError):
                await streams[0].readexactly(1)
        await until(lambda: here.link.connection_count == 0)
        async with here.dialled() as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        assert here.link.refused_count == 1
        here.link.set(ClassicalSettings(is_up=True))
        async with here.dialled() as streams:
            await round_trip_s(streams)


async def test_leaving_ends_what_is_open_and_frees_the_port() -> None:
    async with contextlib.AsyncExitStack() as stack:
        inner: AbstractAsyncContextManager[Lane] = lane(echo)
        here = await inner.__aenter__()
        reader, writer = await stack.enter_async_context(here.dialled())
        await round_trip_s((reader, writer))
        await inner.__aexit__(None, None, None)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((here.host, here.port))


async def test_a_port_in_use_is_named() -> None:
    clock = Clock(ClockConfig(epoch_ns=0, scale=1.0, source=ClockConfig.SOURCE_MONOTONIC))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = ClassicalPathConfig(link_id=LINK, from_node="alice", listen=address, forward_to="127.0.0.1:1")
        with pytest.raises(StartError, match=f"link {LINK}: cannot listen on {address}: Address already in use"):
            async with forwarding([path], links_of([path], clock)):
                pass


async def test_an_idle_connection_sets_no_timer() -> None:
    async with lane(echo, 5 * MS_PS) as here, here.dialled() as streams:
        await round_trip_s(streams)
        loop = asyncio.get_running_loop()
        scheduled = [handle for handle in getattr(loop, "_scheduled") if not handle.cancelled()]  # noqa: B009
        assert scheduled == []
