"""qnetem.topology.policies: the quantities of a policy of a pair of SAEs, and what cannot hold together. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from qnetem.topology import quantities
from qnetem.topology.field import Field

__all__ = ["POLICY", "policy_contradiction", "policy_name"]

POLICY: Final = (
    Field(
        key="min_rate",
        wire="min_secret_hz",
        quantity=quantities.SECRET_RATE,
        doc="Bits a second, emulated, that other pairs leave to this one.",
    ),
    Field(
        key="max_rate",
        wire="max_secret_hz",
        quantity=quantities.SECRET_RATE,
        doc="Bits a second, emulated, that it gets at most.",
    ),
    Field(key="burst", wire="burst_bits", quantity=quantities.BURST, doc="What it may take at once within max_rate."),
    Field(
        key="key_lifetime",
        wire="key_lifetime_s",
        quantity=quantities.LIFETIME,
        doc="Emulated time after which a key that was not collected expires.",
    ),
)


def policy_contradiction(given: Mapping[str, Any]) -> str:
    """Return what cannot hold together in a policy's values by key; "" when they can."""
    if "min_rate" in given and given.get("saes") is None:
        return "min_rate is for a pair alone: name its saes"
    if "burst" in given and "max_rate" not in given:
        return "burst is for a max_rate alone"
    if given.get("min_rate", 0) > given.get("max_rate", float("inf")):
        return "min_rate is above max_rate"
    return ""


def policy_name(saes: object) -> str:
    """Return how a policy is told of: by its pair, in either order, or as that of all others."""
    return "/".join(sorted(str(sae) for sae in saes)) if isinstance(saes, list | tuple) else "default"
