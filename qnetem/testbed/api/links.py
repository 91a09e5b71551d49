"""qnetem.testbed.api.links: one link of a testbed: its state, its settings, its faults. Edge."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from classical_channel.client import ClassicalChannelClient
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.views import LinkView
from qnetem.testbed.api.waiting import eventually
from qnetem.testbed.eavesdropping import attack_settings
from qnetem.testbed.link_values import link_values
from qnetem.testbed.settings import Way, fields_of, settings_from, span_s
from qnetem.topology.quantities import LOSS
from qnetem.v1 import parameters_pb2, supervisor_pb2
from quantum_channel.client import QuantumLinkClient

__all__ = ["LinkHandle", "Planes"]

Planes = Literal["both", "quantum", "classical"]
_PLANES: Final = ("both", "quantum", "classical")


def _checked(plane: Planes) -> Planes:
    if plane not in _PLANES:
        raise BadInputError(f"no plane {plane!r} (known: {', '.join(_PLANES)})")
    return plane


def _cut(plane: Planes) -> tuple[parameters_pb2.LinkSettings | None, parameters_pb2.ClassicalSettings | None]:
    quantum = parameters_pb2.LinkSettings(is_up=False) if _checked(plane) != "classical" else None
    return quantum, parameters_pb2.ClassicalSettings(is_up=False) if plane != "quantum" else None


class LinkHandle:
    """A link. Settings hold until they are reset; faults lie over them and heal with their block."""

    def __init__(self, connected: Callable[[], Connection], link_id: str) -> None:
        """Name a link of the testbed that `connected` gives; see `Testbed.link`.

        Raises:
            NotFoundError: There is no such link; suggests the nearest.
        """
        self.link_id = link_id
        self._connected = connected
        self.endpoints: Final = connected().link(link_id).endpoints

    async def state(self) -> LinkView:
        """Return the link as both ends see it now."""
        return (await self._connected().links())[self.link_id]

    async def parameters(self) -> dict[str, Any]:
        """Return the parameters in force and the operator's settings, as `link show -f json` tells them."""
        return link_values(await self._connected().client.get_link(self.link_id))

    async def set(
        self, *, ramp: str | None = None, duration: str | None = None, direction: str | None = None, **settings: object
    ) -> dict[str, Any]:
        """Set parameters; they hold until reset, or for a time, whatever restarts. Return what is in force.

        Args:
            ramp: Go there in a line, within so much emulated time: "10s".
            duration: They go again after so much emulated time: "60s".
            direction: One way alone, "alice-bob": from alice to bob. Light goes one way anyhow.
            settings: Keys and units as in a topology file: extra_loss="6dB", delay="5ms". A key that both planes have
                means the quantum one; `**{"classical.jitter": "1ms"}` means the other.

        Raises:
            BadInputError: A key is not known, a value is wrong; nothing has changed then.
        """
        chosen = settings_from(settings.items())
        if direction is not None:
            chosen = self._way(direction).settings(*chosen)
        client, ramp_s, duration_s = self._connected().client, span_s("ramp", ramp), span_s("duration", duration)
        return link_values(await client.set_link(self.link_id, *chosen, ramp_s=ramp_s, duration_s=duration_s))

    async def reset(self, *keys: str, direction: str | None = None) -> dict[str, Any]:
        """Take settings back, all where none is named. Return what is in force.

        Args:
            keys: As in `set`.
            direction: One way alone of those that are named.

        Raises:
            BadInputError: A key is not known; nothing has changed then.
        """
        names = fields_of(keys)
        if direction is not None:
            if not keys:
                raise BadInputError("direction: name what to reset one way")
            names = self._way(direction).fields(*names)
        return link_values(await self._connected().client.reset_link(self.link_id, *names, is_all=not keys))

    def _way(self, direction: str) -> Way:
        place = self._connected().link(self.link_id)
        return Way.of(direction, self.link_id, place.endpoints, place.transmitter)

    async def down(self, plane: Planes = "both", *, duration: str | None = None) -> dict[str, Any]:
        """Cut it until `up`, or for so much emulated time."""
        client, duration_s = self._connected().client, span_s("duration", duration)
        return link_values(await client.set_link(self.link_id, *_cut(plane), duration_s=duration_s))

    async def up(self, plane: Planes = "both") -> dict[str, Any]:
        """Mend what `down` has cut; other settings stay."""
        quantum = ["is_up"] if _checked(plane) != "classical" else []
        classical = ["is_up"] if plane != "quantum" else []
        return link_values(await self._connected().client.reset_link(self.link_id, quantum, classical))

    @asynccontextmanager
    async def fault(
        self, *, loss: str | None = None, direction: str | None = None, **settings: object
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Have a fault in force while the block runs; it heals with it, also when this process is killed.

        Faults lie over settings and over older faults, and come off in any order: what remains of settings and faults
        holds then.

        Args:
            loss: Loss of light on top of all there is, such as "6dB"; the losses of several faults add up.
            direction: As in `set`.
            settings: As in `set`; the loss of the classical line is `**{"classical.loss": "1%"}`.

        Yields:
            What is in force, as `parameters` returns it.

        Raises:
            BadInputError: It does nothing, a key is not known, a value is wrong.
        """
        added_db = 0.0
        if loss is not None:
            try:
                added_db = LOSS.parse(loss)
            except ValueError as error:
                raise BadInputError(f"loss: {error}") from None
        chosen = settings_from(settings.items())
        if direction is not None:
            chosen = self._way(direction).settings(*chosen)
        async with self._fault(*chosen, added_db) as in_force:
            yield in_force

    @asynccontextmanager
    async def eve(self, attack: str, **strength: object) -> AsyncIterator[Mapping[str, Any]]:
        """Have an eavesdropper on it while the block runs; she goes with it, as a fault does.

        Args:
            attack: intercept-resend, photon-number-splitting, beam-splitting, blinding, time-shift, trojan or delay.
            strength: How strong: fraction=0.1 or "10%" (a time shift: shift="100ps", a Trojan: photons=0.01, a delay:
                delay="5ns").

        Raises:
            BadInputError: There is no such attack, or it has no such strength.
        """
        async with self._fault(attack_settings(attack, strength), None, 0.0) as in_force:
            yield in_force

    @asynccontextmanager
    async def cut(self, plane: Planes = "both") -> AsyncIterator[Mapping[str, Any]]:
        """Have it cut while the block runs: no light, or no classical connection, or neither."""
        async with self._fault(*_cut(plane), 0.0) as in_force:
            yield in_force

    @asynccontextmanager
    async def _fault(
        self,
        quantum: parameters_pb2.LinkSettings | None,
        classical: parameters_pb2.ClassicalSettings | None,
        added_db: float,
    ) -> AsyncIterator[Mapping[str, Any]]:
        fault = supervisor_pb2.LinkFault(
            link_id=self.link_id, quantum=quantum, classical=classical, added_loss_db=added_db
        )
        async with self._connected().client.fault(fault) as report:
            yield link_values(report)

    async def wait_in_service(self, within: str = "60s") -> LinkView:
        """Wait until both ends are OPERATING, or DEGRADED.

        Raises:
            NotInTimeError: They were not in time.
        """
        return await self._wait(lambda link: link.is_in_service, within, "in service")

    async def wait_for(self, state: str, reason: str | None = None, within: str = "60s") -> LinkView:
        """Wait until an end is in a state, for a reason: "DOWN", "no-light".

        Raises:
            NotInTimeError: None was in time.
        """

        def is_there(link: LinkView) -> bool:
            return any(end.state == state and reason in (None, end.reason) for end in link.ends.values())

        return await self._wait(is_there, within, f"{state} ({reason})" if reason else state)

    async def _wait(self, holds: Callable[[LinkView], bool], within: str, what: str) -> LinkView:
        __tracebackhide__ = True
        what = f"link {self.link_id} {what}"
        return await eventually(self._connected(), self.state, holds=holds, within=within, what=what)

    async def quantum_client(self) -> QuantumLinkClient:
        """Return a client of its quantum channel; of what is set there the supervisor knows nothing."""
        connection = self._connected()
        channel = connection.link(self.link_id).quantum_channel
        if not channel:
            raise NotFoundError(f"link {self.link_id}: has no quantum channel, KMEs of another make give its keys")
        return QuantumLinkClient(await connection.channel(channel))

    async def classical_client(self) -> ClassicalChannelClient:
        """Return a client of its classical channel."""
        connection = self._connected()
        return ClassicalChannelClient(await connection.channel(connection.link(self.link_id).classical_channel))
