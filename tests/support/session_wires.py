"""The two wires of a session of one link, and somebody between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from node.qkd.authentication import LinkAuthentication
from node.qkd.transcript import Message
from node.qkd.wire import Wire
from qnetem.runtime.clock import Clock
from qnetem.v1 import link_session_pb2 as pb
from qnetem.v1 import process_pb2


class Wires:
    """Alice's, who transmits, and Bob's; what one writes goes through `tamper` to the other."""

    def __init__(self, alice: LinkAuthentication, bob: LinkAuthentication, tamper: Callable[[Message], None]) -> None:
        clock = Clock(process_pb2.ClockConfig(scale=1.0, source=process_pb2.ClockConfig.SOURCE_MONOTONIC))
        self._there: asyncio.Queue[Any] = asyncio.Queue()
        self._back: asyncio.Queue[Any] = asyncio.Queue()

        async def arriving(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
            while True:
                yield await queue.get()

        async def write(message: Any) -> None:
            copied = type(message).FromString(message.SerializeToString())
            tamper(copied)
            await (self._there if isinstance(message, pb.SessionRequest) else self._back).put(copied)

        self.alice: Wire[Any, Any] = Wire(write, arriving(self._back), pb.SessionRequest, clock, alice)
        self.bob: Wire[Any, Any] = Wire(write, arriving(self._there), pb.SessionResponse, clock, bob)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """What is sent is written, for as long as the block runs, which is bounded."""
        writers = [asyncio.create_task(wire.write_forever()) for wire in (self.alice, self.bob)]
        try:
            async with asyncio.timeout(60):
                yield
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
