"""classical_channel.connection: two sockets and the bytes between them, kept under way as long as the path says. Edge.

A connection has two ends, near (who dialled) and far (where the path leads), and two flows between them. A flow's
end of stream and its reset travel in order with its bytes. An idle connection holds no timer and no buffer.
"""

import asyncio
import contextlib
import enum
import socket
import struct
from dataclasses import dataclass
from typing import Final, cast

from classical_channel.delay import DelayLine
from classical_channel.link import Link, Way
from classical_channel.path import Transit

__all__ = ["Connection", "Inbox", "SharedPath"]

_READ_BYTES: Final = 256 << 10
_WRITE_BUFFER_BYTES: Final = 1 << 20
_CONNECT_TIMEOUT_S: Final = 5.0
# SO_LINGER on with 0 s: closing sends a reset
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class _Mark(enum.Enum):
    END = enum.auto()
    RESET = enum.auto()


class Inbox:
    """The one read buffer of the process: the loop reads one socket at a time, and what was read leaves at once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_READ_BYTES))

    def give_away(self) -> None:
        """Take a new buffer: a transport may still hold on to the old one."""
        self.view = memoryview(bytearray(_READ_BYTES))


@dataclass(frozen=True)
class SharedPath:
    """What the connections of one path share."""

    link: Link
    # the ways of the link: from who dials, and back to him; and what befalls traffic there
    there: Way
    back: Way
    there_transit: Transit
    back_transit: Transit
    host: str
    port: int
    inbox: Inbox
    group: asyncio.TaskGroup


class _End(asyncio.BufferedProtocol):
    """One socket: `outgoing` carries what it receives, `incoming` brings what it sends."""

    outgoing: "_Flow"
    incoming: "_Flow"

    def __init__(self, connection: "Connection", inbox: Inbox) -> None:
        self._connection = connection
        self._inbox = inbox
        self.transport: asyncio.Transport | None = None
        self.is_writable = True
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._connection.connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._inbox.view

    def buffer_updated(self, nbytes: int) -> None:
        self.outgoing.take(self._inbox, nbytes)

    def eof_received(self) -> bool:
        self.outgoing.mark(_Mark.END)
        return True

    def pause_writing(self) -> None:
        self.is_writable = False
        self.incoming.settle()

    def resume_writing(self) -> None:
        self.is_writable = True
        self.incoming.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.incoming.drop()
        self.outgoing.mark(_Mark.RESET)
        self._connection.lost()

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.is_lost

    def reset(self) -> None:
        """Close at once; the peer sees a reset."""
        if self.transport is None or self.is_lost:
            return
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()


class _Flow:
    """Bytes from one end to the other."""

    def __init__(self, source: _End, sink: _End, connection: "Connection", way: Way, transit: Transit) -> None:
        self._source = source
        self._sink = sink
        self._connection = connection
        self._way = way
        self._transit = transit
        self._loop = asyncio.get_running_loop()
        self._line = DelayLine()
        self._timer: asyncio.TimerHandle | None = None
        self._is_held = False
        self._last_mark: _Mark | None = None
        self.is_ended = False
        source.outgoing = self
        sink.incoming = self

    def take(self, inbox: Inbox, size_bytes: int) -> None:
        """Take what was read into the inbox."""
        now_s = self._loop.time()
        sink = self._sink
        if self._transit.is_immediate and not self._line and sink.is_writable and sink.transport is not None:
            sink.transport.write(inbox.view[:size_bytes])
            if sink.transport.get_write_buffer_size():
                inbox.give_away()
            self._way.forwarded(size_bytes, self._loop.time() - now_s)
        else:
            self._push(now_s, bytes(inbox.view[:size_bytes]), size_bytes)

    def mark(self, mark: _Mark) -> None:
        """Let an end or a reset follow the bytes. An end comes once, nothing comes after a reset."""
        if self._last_mark in (mark, _Mark.RESET) or self._connection.is_finished:
            return
        self._last_mark = mark
        self._push(self._loop.time(), mark, 0)

    def _push(self, now_s: float, content: bytes | _Mark, size_bytes: int) -> None:
        if not self._sink.is_lost:
            delay_s, again_s = self._transit.next_delay_s(), self._transit.next_loss_s()
            if again_s is None:
                self._line.push(now_s, delay_s, content, size_bytes)
            else:
                self._line.push(now_s, delay_s + again_s, content, size_bytes, lost_count=1)
            self.pump()

    def pump(self) -> None:
        """Deliver what is due, and come back for the next."""
        while self._can_deliver:
            now_s = self._loop.time()
            entry = self._line.pop_due(now_s)
            if entry is None:
                break
            if entry.lost_count and (again_s := self._transit.next_loss_s(entry.lost_count)) is not None:
                self._line.put_back(entry, now_s + again_s)
                break
            self._deliver(entry.content, now_s - entry.sent_s)
        self._set_timer()
        self.settle()

    @property
    def _can_deliver(self) -> bool:
        # a reset does not wait until there is room for the bytes before it
        return self._sink.is_open and (self._sink.is_writable or self._last_mark is _Mark.RESET)

    def _deliver(self, content: object, added_s: float) -> None:
        transport = cast("asyncio.Transport", self._sink.transport)
        if content is _Mark.RESET:
            self._line.clear()
            self._sink.reset()
        elif content is _Mark.END:
            self.is_ended = True
            # the peer may have reset meanwhile: its own flow tells
            with contextlib.suppress(OSError):
                transport.write_eof()
            self._connection.ended()
        else:
            data = cast("bytes", content)
            transport.write(data)
            self._way.forwarded(len(data), added_s)

    def _set_timer(self) -> None:
        due_s = self._line.next_due_s if self._can_deliver else None
        if self._timer is not None and self._timer.when() != due_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due_s is not None:
            self._timer = self._loop.call_at(due_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.pump()

    def settle(self) -> None:
        """Let the source wait or go on, as there is room."""
        # reading again after the end of the stream would meet the end again
        if not self._source.is_open or self._last_mark is not None:
            return
        transport = cast("asyncio.Transport", self._source.transport)
        is_blocked = self._line.is_full or (self._transit.is_immediate and not self._sink.is_writable)
        if is_blocked and not self._is_held:
            self._is_held = True
            transport.pause_reading()
        elif self._is_held and not is_blocked and self._line.has_room:
            self._is_held = False
            transport.resume_reading()

    def drop(self) -> None:
        """Forget what is under way."""
        self._line.clear()
        self._set_timer()


class Connection:
    """A near end, a far end and the flows between them."""

    def __init__(self, path: SharedPath) -> None:
        self._path = path
        self.near = _End(self, path.inbox)
        self.far = _End(self, path.inbox)
        self._flows = (
            _Flow(self.near, self.far, self, path.there, path.there_transit),
            _Flow(self.far, self.near, self, path.back, path.back_transit),
        )
        self._dialling: asyncio.Task[None] | None = None
        self.is_finished = False

    def connected(self, end: _End) -> None:
        """Dial on when the near end is there, let it speak when the far end is."""
        if end is self.far:
            if self.near.is_open:
                cast("asyncio.Transport", self.near.transport).resume_reading()
                # some Pythons read on, whatever `connection_made` has asked for: what came meanwhile waits in the line
                self.near.outgoing.pump()
            else:
                end.reset()
        elif self._path.there_transit.is_open:
            self._path.link.opened(self)
            cast("asyncio.Transport", end.transport).pause_reading()
            self._dialling = self._path.group.create_task(self._dial())
        else:
            self._path.link.refused()
            end.reset()

    async def _dial(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: self.far, self._path.host, self._path.port)
        except (OSError, TimeoutError):
            # whoever dialled must notice, so that it dials again
            self.near.reset()

    def ended(self) -> None:
        """Close both ends once both flows have ended; what is still buffered is sent."""
        if all(flow.is_ended for flow in self._flows):
            self.is_finished = True
            for end in (self.near, self.far):
                if end.is_open:
                    cast("asyncio.Transport", end.transport).close()

    def lost(self) -> None:
        """Count out once no end is open."""
        if not self.near.is_open and not self.far.is_open:
            if self._dialling is not None:
                self._dialling.cancel()
            self._path.link.closed(self)

    def reset(self) -> None:
        """End both sides at once; what is under way is lost."""
        self.is_finished = True
        for flow in self._flows:
            flow.drop()
        self.near.reset()
        self.far.reset()
