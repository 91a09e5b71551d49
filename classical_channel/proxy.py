"""classical_channel.proxy: listens where nodes dial, and lets each connection go on to where its path leads. Edge."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from classical_channel.connection import Connection, Inbox, SharedPath
from classical_channel.link import Link
from qnetem.runtime.errors import BadInputError, StartError
from qnetem.runtime.rpc import split_address
from qnetem.v1 import process_pb2

__all__ = ["forwarding"]


@asynccontextmanager
async def forwarding(
    paths: Iterable[process_pb2.ClassicalPathConfig], links: Mapping[str, Link]
) -> AsyncIterator[dict[str, str]]:
    """Listen on every path and forward while the block runs; give the bound address of each "from>link".

    Raises:
        BadInputError: An address is not host:port; names the link.
        StartError: An address cannot be bound; names it.
    """
    loop = asyncio.get_running_loop()
    inbox = Inbox()
    listeners: list[tuple[process_pb2.ClassicalPathConfig, socket.socket]] = []
    try:
        for path in paths:
            listeners.append((path, _bound(path)))
        async with asyncio.TaskGroup() as group:
            servers = []
            for path, raw in listeners:
                host, port = _address(path.link_id, path.forward_to)
                link = links[path.link_id]
                ways = link.ways if path.from_node == link.forth.from_node else link.ways[::-1]
                shared = SharedPath(link, *ways, *link.transits(path), host, port, inbox, group)
                servers.append(await loop.create_server(_factory(shared), sock=raw))
            try:
                yield {f"{path.from_node}>{path.link_id}": _name_of(raw) for path, raw in listeners}
            finally:
                for server in servers:
                    server.close()
                for link in links.values():
                    link.close()
                for link in links.values():
                    await link.emptied()
    finally:
        for _, raw in listeners:
            raw.close()


def _factory(path: SharedPath) -> Callable[[], asyncio.BufferedProtocol]:
    return lambda: Connection(path).near


def _name_of(raw: socket.socket) -> str:
    host, port = raw.getsockname()[:2]
    return f"{host}:{port}"


def _address(link_id: str, address: str) -> tuple[str, int]:
    try:
        return split_address(address)
    except BadInputError as error:
        raise BadInputError(f"link {link_id}: {error}") from None


def _bound(path: process_pb2.ClassicalPathConfig) -> socket.socket:
    host, port = _address(path.link_id, path.listen)
    raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        raw.bind((host, port))
        raw.listen(1)
    except OSError as error:
        raw.close()
        raise StartError(f"link {path.link_id}: cannot listen on {path.listen}: {error.strerror}") from error
    return raw
