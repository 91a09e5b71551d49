"""qnetem.testbed.overlay: what is in force on links when faults lie over the operator's settings. Pure."""

import math
from collections.abc import Iterable, Mapping

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.desired import PLANES, Desired, Plane, Settings, checked, merged
from qnetem.topology.quantities import LOSS
from qnetem.v1 import supervisor_pb2
from qnetem.v1.parameters_pb2 import LinkSettings

__all__ = ["checked_fault", "difference", "overlaid", "planes_of"]


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

    A fault's settings take the place of what lies below; the losses that faults add come on top of the loss that all of
    them leave.

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
    for link_id, own in desired.quantum.items():
        most_db[link_id] = max(most_db.get(link_id, 0.0), own.extra_loss_db)
    for fault in faults:
        for plane in PLANES:
            if fault.HasField(plane):
                settings: Settings = getattr(fault, plane)
                result = result.but(plane, fault.link_id, merged(result.of(plane, fault.link_id), settings))
        if fault.added_loss_db:
            added_db[fault.link_id] = added_db.get(fault.link_id, 0.0) + fault.added_loss_db
        most_db[fault.link_id] = max(most_db.get(fault.link_id, 0.0), fault.quantum.extra_loss_db)
    for link_id, loss_db in added_db.items():
        if (total_db := most_db[link_id] + loss_db) > LOSS.maximum:
            raise BadInputError(f"link {link_id}: faults could add up to {total_db:g}dB ({LOSS.range_text})")
        below = result.quantum.get(link_id) or LinkSettings()
        base_db = below.extra_loss_db if below.HasField("extra_loss_db") else planned_loss_db[link_id]
        result = result.but("quantum", link_id, merged(below, LinkSettings(extra_loss_db=base_db + loss_db)))
    return result


def difference(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return what turns `old` into `new`: the settings to make, and the names of those to take back."""
    made = type(new)()
    present = {descriptor.name: value for descriptor, value in old.ListFields()}
    for descriptor, value in new.ListFields():
        if descriptor.name not in present or present.pop(descriptor.name) != value:
            setattr(made, descriptor.name, value)
    wanted = {descriptor.name for descriptor, _ in new.ListFields()}
    return made, [name for name in present if name not in wanted]
