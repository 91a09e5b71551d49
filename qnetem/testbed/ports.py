"""qnetem.testbed.ports: choosing free ports that stay the same. Edge."""

import errno
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from qnetem.runtime.errors import StartError
from qnetem.testbed.addresses import HOST, PortWish

__all__ = ["RANGE", "chosen", "why_not_bindable"]

# below 32768, where Linux starts to give ports to outgoing connections
RANGE: Final = range(20000, 32000)


def why_not_bindable(port: int) -> str | None:
    """Return why nothing can listen on a port of the local host; None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as the servers do: connections of an earlier run that time out are no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return "in use" if error.errno == errno.EADDRINUSE else (error.strerror or "cannot be bound").lower()
    return None


def chosen(
    wishes: Iterable[PortWish],
    kept: Mapping[str, int],
    taken: frozenset[int],
    first: int,
    why_not: Callable[[int], str | None] = why_not_bindable,
) -> dict[str, int]:
    """Return a port for each wish, by key: the fixed one, else the one it had before, else the next free one.

    Args:
        wishes: What is needed.
        kept: The ports of earlier runs, by key. One that was taken by somebody else meanwhile is replaced.
        taken: Ports that others are about to use.
        first: Where in `RANGE` the search starts (any number; testbeds that start at the same time should differ).
        why_not: Why a port cannot be used; None when it can.

    Raises:
        StartError: A fixed port cannot be used, or no free port is left; names port and listener.
    """
    wanted = list(wishes)
    ports: dict[str, int] = {}
    used: dict[int, str] = {}
    for wish in wanted:
        if wish.fixed is None:
            continue
        why = f"also that of {used[wish.fixed]}" if wish.fixed in used else why_not(wish.fixed)
        if why is None and wish.fixed in taken:
            why = "taken by another testbed"
        if why is not None:
            raise StartError(f"port {wish.fixed} of {wish.key} is {why}")
        ports[wish.key] = wish.fixed
        used[wish.fixed] = wish.key

    def is_free(port: int) -> bool:
        return port not in used and port not in taken and why_not(port) is None

    # before any new port is chosen: it could be one of these
    for wish in wanted:
        if wish.key not in ports and wish.key in kept and is_free(kept[wish.key]):
            ports[wish.key] = kept[wish.key]
            used[kept[wish.key]] = wish.key
    candidates = (RANGE[(first + index) % len(RANGE)] for index in range(len(RANGE)))
    for wish in wanted:
        if wish.key not in ports:
            port = next((port for port in candidates if is_free(port)), None)
            if port is None:
                raise StartError(f"no port from {RANGE.start} to {RANGE.stop - 1} is free for {wish.key}")
            ports[wish.key] = port
            used[port] = wish.key
    return {wish.key: ports[wish.key] for wish in wanted}
