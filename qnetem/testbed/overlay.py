"""qnetem.testbed.overlay: what is in force on links when faults lie over the operator's settings. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.desired import PLANES, Desired, Plane, Settings, checked, merged
from qnetem.topology.quantities import LOSS
from qnetem.v1 import supervisor_pb2
from qnetem.v1.parameters_pb2 import EmulatedTime, LinkSettings, SettingsLayer

__all__ = ["checked_fault", "overlaid", "planes_of"]

_LOSS: Final = "extra_loss_db"


def planes_of(fault: supervisor_pb2.LinkFault) -> tuple[Plane, ...]:
    """Return the planes that a fault touches."""
    is_touched = {
        "quantum": fault.HasField("quantum") or bool(fault.added_loss_db),
        "classical": fault.HasField("classical"),
    }
    return tuple(plane for plane in PLANES if is_touched[plane])


def checked_fault(fault: supervisor_pb2.LinkFault) -> supervisor_pb2.LinkFault:
    """Return a fault after a look at all that it holds.

    Raises:
        BadInputError: It does nothing, or a value is out of the range that a topology allows it.
    """
    if not math.isfinite(fault.added_loss_db) or not 0 <= fault.added_loss_db <= LOSS.maximum:
        raise BadInputError(f"added_loss_db {fault.added_loss_db:g} is out of range ({LOSS.range_text})")
    if not planes_of(fault):
        raise BadInputError("a fault that does nothing")
    for plane in PLANES:
        if fault.HasField(plane):
            checked(getattr(fault, plane))
    return fault


def overlaid(
    desired: Desired, faults: Iterable[supervisor_pb2.LinkFault], planned_loss_db: Mapping[str, float]
) -> Desired:
    """Return the settings in force: the operator's, and over them the faults in the order in which they began.

    A fault's settings take the place of what lies below, layers included; the losses that faults add come on top of the
    loss that all of them leave.

    Args:
        desired: The operator's settings.
        faults: The faults in force, the oldest first.
        planned_loss_db: Extra loss of the topology, by link id, of the links to which a fault adds loss.

    Raises:
        BadInputError: The losses add up to more than a link can have.
    """
    result = desired
    added_db: dict[str, float] = {}
    # the most that may be left below when other faults heal
    most_db = dict(planned_loss_db)
    for link_id in desired.links:
        levels = [desired.of("quantum", link_id), *(one.settings for one in desired.layers_of("quantum", link_id))]
        for level in levels:
            most_db[link_id] = max(most_db.get(link_id, 0.0), getattr(level, _LOSS))
    for fault in faults:
        for plane in PLANES:
            if fault.HasField(plane):
                result = _covered(desired, result, plane, fault.link_id, getattr(fault, plane))
        if fault.added_loss_db:
            added_db[fault.link_id] = added_db.get(fault.link_id, 0.0) + fault.added_loss_db
        most_db[fault.link_id] = max(most_db.get(fault.link_id, 0.0), fault.quantum.extra_loss_db)
    for link_id, loss_db in added_db.items():
        if (total_db := most_db[link_id] + loss_db) > LOSS.maximum:
            raise BadInputError(f"link {link_id}: faults could add up to {total_db:g}dB ({LOSS.range_text})")
        result = _added(result, link_id, planned_loss_db[link_id], loss_db)
    return result


def _covered(desired: Desired, result: Desired, plane: Plane, link_id: str, settings: Settings) -> Desired:
    """Return `result` with a fault's settings over all there is: a last layer where the operator has layers."""
    below, layers = result.of(plane, link_id), result.layers_of(plane, link_id)
    own = desired.layers_of(plane, link_id)
    if not own:
        return result.but(plane, link_id, merged(below, settings))
    top: Any = type(own[0])(start=EmulatedTime())
    top.settings.CopyFrom(merged(layers[-1].settings, settings) if len(layers) > len(own) else settings)
    return result.but(plane, link_id, below, (*own, top))


def _added(result: Desired, link_id: str, planned_db: float, added_db: float) -> Desired:
    """Return `result` with more loss on a link, whichever of its levels says how much there is."""
    settings: Any = LinkSettings()
    settings.CopyFrom(result.of("quantum", link_id))
    settings.extra_loss_db = (settings.extra_loss_db if settings.HasField(_LOSS) else planned_db) + added_db
    layers = []
    for layer in result.layers_of("quantum", link_id):
        more = SettingsLayer()
        more.CopyFrom(layer)  # type: ignore[arg-type]
        if more.settings.HasField(_LOSS):
            more.settings.extra_loss_db += added_db
        layers.append(more)
    return result.but("quantum", link_id, settings, layers)
