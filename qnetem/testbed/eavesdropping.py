"""qnetem.testbed.eavesdropping: attacks in a user's words, to settings and back. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from qnetem.runtime.errors import BadInputError
from qnetem.topology.attacks import ATTACKS, Attack
from qnetem.topology.units import Quantity
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1.parameters_pb2 import LinkSettings

__all__ = ["attack_of", "attack_settings", "attacks_on"]

_STRENGTHS: Final = tuple(dict.fromkeys(attack.strength for attack in ATTACKS.values()))


def attack_of(name: str) -> Attack:
    """Return an attack. Raises BadInputError; suggests the nearest."""
    if name not in ATTACKS:
        raise BadInputError(f"no attack {shown(name)}" + did_you_mean(name, ATTACKS))
    return ATTACKS[name]


def attack_settings(name: str, strengths: Mapping[str, object]) -> LinkSettings:
    """Return the settings of an attack.

    Args:
        name: One of ATTACKS.
        strengths: What the attack's strength is called, and the value as in a topology: {"fraction": "10%"}.

    Raises:
        BadInputError: There is no such attack, its strength is missing, another one is given, or the value is wrong.
    """
    attack = attack_of(name)
    quantity = attack.field.quantity
    assert isinstance(quantity, Quantity)  # noqa: S101 (how strong is a number)
    for other in strengths:
        if other != attack.strength:
            raise BadInputError(f"{name} has no {other}; how strong it is is its {attack.strength}")
    if attack.strength not in strengths:
        raise BadInputError(f"{name} needs its {attack.strength}, such as {quantity.example}")
    given = strengths[attack.strength]
    try:
        value = quantity.parse(_number(given) if quantity.is_bare else given)
    except ValueError as error:
        raise BadInputError(f"{attack.strength}: {error}") from None
    if value == 0:
        raise BadInputError(f"{attack.strength}: {shown(given)} is no attack")
    settings = LinkSettings()
    setattr(settings, attack.field.wire, value)
    return settings


def _number(given: object) -> object:
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError:
        return given


def attacks_on(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the attacks on a link that are there or were asked for.

    Args:
        values: The link, as `link_values` tells it.

    Yields:
        `link_id`, `attack`, what its strength is called, `requested` and `achieved` (None where that is not known), and
        `by`: operator, fault or topology.
    """
    part = values["quantum"]
    for name, attack in ATTACKS.items():
        key = attack.field.key
        request = part["requested"].get(key)
        achieved = part["parameters"][key] if part["is_running"] else None
        nothing = attack.field.render(0.0)
        if achieved in (None, nothing) and (request is None or request["value"] == nothing):
            continue
        yield {
            "link_id": values["link_id"],
            "attack": name,
            "strength": attack.strength,
            "requested": request["value"] if request else None,
            "achieved": achieved,
            "by": request["by"] if request else "topology",
            "ramp_left_s": request.get("ramp_left_s") if request else None,
            "left_s": request.get("left_s") if request else None,
        }
