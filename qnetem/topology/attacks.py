"""qnetem.topology.attacks: what an eavesdropper can do, in a user's words. Pure.

Each attack is one field of a quantum link, by its key, and has one strength, in that field's unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from qnetem.topology.field import Field
from qnetem.topology.fields import QUANTUM

__all__ = ["ATTACKS", "Attack"]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: its name, the field that holds how strong it is, and what that strength is called."""

    name: str
    field: Field
    strength: str


def _table(*rows: tuple[str, str, str]) -> Mapping[str, Attack]:
    known = {each.key: each for each in QUANTUM}
    return MappingProxyType({name: Attack(name, known[key], strength) for name, key, strength in rows})


ATTACKS: Final = _table(
    ("intercept-resend", "eve_intercept", "fraction"),
    ("photon-number-splitting", "eve_splitting", "fraction"),
    ("beam-splitting", "eve_beam_splitting", "fraction"),
    ("blinding", "eve_blinding", "fraction"),
    ("time-shift", "eve_time_shift", "shift"),
    ("trojan", "eve_trojan", "photons"),
    ("delay", "eve_delay", "delay"),
)
