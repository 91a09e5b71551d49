"""qnetem.testbed.api.sync_handles: the handles of a testbed for synchronous code. Wiring.

Nothing is decided here: every method runs the one of the same name in the thread's loop.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from qnetem.testbed.api.events import EventStream
from qnetem.testbed.api.links import LinkHandle, Planes
from qnetem.testbed.api.processes import ProcessHandle
from qnetem.testbed.api.saes import SaeHandle
from qnetem.testbed.api.views import Event, LinkView, ProcessView
from qnetem.testbed.etsi import Key
from qnetem.testbed.planes import Plane

__all__ = ["SyncEventStream", "SyncLinkHandle", "SyncProcessHandle", "SyncSaeHandle"]

_T = TypeVar("_T")
_Run = Callable[[Coroutine[Any, Any, Any]], Any]


@contextmanager
def _scope(run: _Run, scope: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
    value: _T = run(_entered(scope))
    try:
        yield value
    finally:
        run(_left(scope))


async def _entered(scope: AbstractAsyncContextManager[_T]) -> _T:
    return await scope.__aenter__()


async def _left(scope: AbstractAsyncContextManager[Any]) -> None:
    await scope.__aexit__(None, None, None)


class SyncProcessHandle:
    """`ProcessHandle` for synchronous code."""

    def __init__(self, run: _Run, handle: ProcessHandle) -> None:
        """Wrap a handle; see `SyncTestbed.process`."""
        self._run = run
        self._handle = handle
        self.name = handle.name

    def kill(self) -> ProcessView:
        """Kill it (SIGKILL); the supervisor starts it again."""
        view: ProcessView = self._run(self._handle.kill())
        return view

    def pause(self) -> ProcessView:
        """Freeze it (SIGSTOP)."""
        view: ProcessView = self._run(self._handle.pause())
        return view

    def resume(self) -> ProcessView:
        """Let it go on after a pause."""
        view: ProcessView = self._run(self._handle.resume())
        return view

    def stop(self) -> ProcessView:
        """Stop it; it stays away until it is started."""
        view: ProcessView = self._run(self._handle.stop())
        return view

    def start(self) -> ProcessView:
        """Start it, when it does not run."""
        view: ProcessView = self._run(self._handle.start())
        return view

    def restart(self) -> ProcessView:
        """Stop it and start it again."""
        view: ProcessView = self._run(self._handle.restart())
        return view

    def disconnect(self, plane: Plane | None = None) -> ProcessView:
        """Take it off a plane, or off all, until `connect`. Raises BadInputError."""
        view: ProcessView = self._run(self._handle.disconnect(plane))
        return view

    def connect(self, plane: Plane | None = None) -> ProcessView:
        """Join it to a plane again, or to all."""
        view: ProcessView = self._run(self._handle.connect(plane))
        return view

    @contextmanager
    def disconnected(self, plane: Plane | None = None) -> Iterator[None]:
        """Have it off a plane while the block runs."""
        with _scope(self._run, self._handle.disconnected(plane)):
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it while the block runs."""
        with _scope(self._run, self._handle.paused()):
            yield

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep it away while the block runs; it serves again after it."""
        with _scope(self._run, self._handle.stopped()):
            yield

    def status(self) -> ProcessView:
        """Return what the supervisor knows of it."""
        view: ProcessView = self._run(self._handle.status())
        return view

    def wait_healthy(self, within: str = "30s") -> ProcessView:
        """Wait until it serves. Raises NotInTimeError."""
        view: ProcessView = self._run(self._handle.wait_healthy(within))
        return view

    def logs(self, count: int = 50) -> list[str]:
        """Return the last lines of its log."""
        return self._handle.logs(count)


class SyncLinkHandle:
    """`LinkHandle` for synchronous code."""

    def __init__(self, run: _Run, handle: LinkHandle) -> None:
        """Wrap a handle; see `SyncTestbed.link`."""
        self._run = run
        self._handle = handle
        self.link_id = handle.link_id
        self.endpoints = handle.endpoints

    def state(self) -> LinkView:
        """Return the link as both ends see it now."""
        view: LinkView = self._run(self._handle.state())
        return view

    def parameters(self) -> dict[str, Any]:
        """Return the parameters in force and the operator's settings."""
        return dict(self._run(self._handle.parameters()))

    def set(
        self, *, ramp: str | None = None, duration: str | None = None, direction: str | None = None, **settings: object
    ) -> dict[str, Any]:
        """Set parameters; they hold until reset, or for a time. Raises BadInputError."""
        return dict(self._run(self._handle.set(ramp=ramp, duration=duration, direction=direction, **settings)))

    def reset(self, *keys: str, direction: str | None = None) -> dict[str, Any]:
        """Take settings back, all where none is named. Raises BadInputError."""
        return dict(self._run(self._handle.reset(*keys, direction=direction)))

    def down(self, plane: Planes = "both", *, duration: str | None = None) -> dict[str, Any]:
        """Cut it until `up`, or for a time."""
        return dict(self._run(self._handle.down(plane, duration=duration)))

    def up(self, plane: Planes = "both") -> dict[str, Any]:
        """Mend what `down` has cut."""
        return dict(self._run(self._handle.up(plane)))

    @contextmanager
    def fault(
        self, *, loss: str | None = None, direction: str | None = None, **settings: object
    ) -> Iterator[Mapping[str, Any]]:
        """Have a fault in force while the block runs. Raises BadInputError."""
        with _scope(self._run, self._handle.fault(loss=loss, direction=direction, **settings)) as in_force:
            yield in_force

    @contextmanager
    def eve(self, attack: str, **strength: object) -> Iterator[Mapping[str, Any]]:
        """Have an eavesdropper on it while the block runs. Raises BadInputError."""
        with _scope(self._run, self._handle.eve(attack, **strength)) as in_force:
            yield in_force

    @contextmanager
    def cut(self, plane: Planes = "both") -> Iterator[Mapping[str, Any]]:
        """Have it cut while the block runs."""
        with _scope(self._run, self._handle.cut(plane)) as in_force:
            yield in_force

    def wait_in_service(self, within: str = "60s") -> LinkView:
        """Wait until both ends are OPERATING, or DEGRADED. Raises NotInTimeError."""
        view: LinkView = self._run(self._handle.wait_in_service(within))
        return view

    def wait_for(self, state: str, reason: str | None = None, within: str = "60s") -> LinkView:
        """Wait until an end is in a state, for a reason. Raises NotInTimeError."""
        view: LinkView = self._run(self._handle.wait_for(state, reason, within))
        return view


class SyncSaeHandle:
    """`SaeHandle` for synchronous code; raises the same errors."""

    def __init__(self, run: _Run, handle: SaeHandle) -> None:
        """Wrap a handle; see `SyncTestbed.sae`."""
        self._run = run
        self._handle = handle
        self.sae_id = handle.sae_id
        self.node = handle.node
        self.kme_url = handle.kme_url
        self.credentials = handle.credentials

    def enc_keys(self, slave: str, number: int = 1, size: int = 256) -> list[Key]:
        """Return new keys that are shared with the SAE `slave`."""
        return list(self._run(self._handle.enc_keys(slave, number, size)))

    def dec_keys(self, master: str, key_ids: Sequence[str]) -> list[Key]:
        """Return the keys that the SAE `master` has, by their ids."""
        return list(self._run(self._handle.dec_keys(master, key_ids)))

    def status(self, slave: str) -> dict[str, Any]:
        """Return what the KME says of keys with the SAE `slave`."""
        return dict(self._run(self._handle.status(slave)))


class SyncEventStream(Iterator[Event]):
    """`EventStream` for synchronous code."""

    def __init__(self, run: _Run, stream: EventStream) -> None:
        """Wrap a stream; see `SyncTestbed.events`."""
        self._run = run
        self._stream = stream

    def __next__(self) -> Event:
        """Return the next event, waiting for it."""
        event: Event = self._run(self._stream.__anext__())
        return event

    def until(self, name: str, *, within: str = "30s", **fields: Any) -> Event:
        """Return the next event of a name that has these fields. Raises NotInTimeError."""
        event: Event = self._run(self._stream.until(name, within=within, **fields))
        return event
