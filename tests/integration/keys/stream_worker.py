"""A key stream of two applications of one KME, to be killed at a named point: python stream_worker.py FOLDER.

Writes a JSON line for every chunk that an application was given.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from node.keys.agreement import AgreementDesk
from node.keys.directory import Directory
from node.keys.etsi004 import KeyStreams
from node.keys.etsi004_request import ChunkRequest, OpenRequest, Qos
from node.keys.key_delivery import KeyDelivery
from node.keys.relaying import Relaying
from node.keys.store import open_store
from qnetem.runtime import crashpoint

STREAM = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOW_S = 1000.0


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[KeyStreams]:
    """Yield the streams of a KME whose store lies in a folder."""
    directory = Directory("metro", "alice", {"app-1": "alice", "app-1b": "alice"}, frozenset())
    async with open_store(folder / "alice" / "keys.db", now_s=lambda: NOW_S) as store:
        relaying = Relaying.of(store, directory, lambda node: None)
        delivery = KeyDelivery(store, relaying.exchange, directory)
        yield KeyStreams(store, delivery, relaying.courier, AgreementDesk(), lambda: NOW_S)


async def open_both(streams: KeyStreams) -> list[int]:
    """Open both sides; return the statuses."""
    request = OpenRequest("app-1", "app-1b", STREAM, Qos())
    return [(await streams.open_connect(app, request))["Status"] for app in ("app-1", "app-1b")]


async def get(streams: KeyStreams, app: str, index: int | None = None) -> dict[str, Any]:
    """Return a chunk, its value as a digest."""
    body = await streams.get_key(app, ChunkRequest(STREAM, index, None))
    if "Key_buffer" in body:
        body["digest"] = hashlib.sha256(body.pop("Key_buffer").encode()).hexdigest()
    return body


async def run(folder: Path) -> None:
    """Have each application get chunks of its own accord."""
    async with opened(folder) as streams:
        crashpoint.arm(folder)
        await open_both(streams)
        for app in ("app-1", "app-1", "app-1b", "app-1b", "app-1b", "app-1"):
            sys.stdout.write(json.dumps({"app": app, **await get(streams, app)}) + "\n")
            sys.stdout.flush()
        await streams.close("app-1", STREAM)
        sys.stdout.write('"end"\n')


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
