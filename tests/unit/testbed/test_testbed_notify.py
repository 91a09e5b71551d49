"""Signs of life: what counts as one, and that one process cannot speak for another."""

import asyncio
import socket
from pathlib import Path

import pytest

from qnetem.testbed.supervisor.notify import NotifySocket, is_ready_message


@pytest.mark.parametrize(
    ("data", "means"),
    [
        (b"READY=1\nMAINPID=7", True),
        (b"WATCHDOG=1", False),
        (b"MAINPID=7\nWATCHDOG=1", False),
        (b"STOPPING=1", None),
        (b"READY=0", None),
        (b"XREADY=1", None),
        (b"", None),
        (b"\xff\x00" * 100, None),
    ],
)
def test_a_datagram_says_ready_alive_or_nothing(data: bytes, means: bool | None) -> None:
    assert is_ready_message(data) is means


async def test_messages_arrive_and_those_of_the_dead_are_forgotten(short_dir: Path) -> None:
    heard: asyncio.Queue[bool] = asyncio.Queue()
    listener = NotifySocket(short_dir / "n0", heard.put_nowait)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as process:
            process.connect(str(short_dir / "n0"))
            process.send(b"READY=1")
            assert await heard.get() is True
            process.send(b"WATCHDOG=1")
            listener.drain()
            process.send(b"READY=1")
            assert await heard.get() is True, "the WATCHDOG before was dropped"
        assert heard.empty()
    finally:
        listener.close()
    assert not (short_dir / "n0").exists()
