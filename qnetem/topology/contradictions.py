"""qnetem.topology.contradictions: values of a link that cannot hold together, after all layers are merged. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from qnetem.topology.fields import QUANTUM

__all__ = ["Contradiction", "contradictions"]

# the block, the keys that the text is about, the one to point at first, and what is wrong
Contradiction = tuple[str, tuple[str, ...], str]
Values = Mapping[str, Any]

_INTENSITIES: Final = {"bb84-one-decoy": (2, 2), "bb84-two-decoys": (3, 3), "bb84-asymptotic": (2, 3)}
_PAIRS: Final = "bbm92"
# what needs another value above 0 where it is above 0 itself
_NEEDS: Final = (
    ("afterpulse_probability", "afterpulse_time"),
    ("loss_wander", "loss_wander_time"),
    ("intensity_wander", "intensity_wander_time"),
    ("loss_event_rate", "loss_event_time"),
    ("divergence", "aperture"),
    ("divergence", "length"),
    ("bin_separation", "bin_width"),
    ("bin_width", "bin_separation"),
)


def _text(key: str, value: float) -> str:
    return str(next(each for each in QUANTUM if each.key == key).quantity.render(value))  # type: ignore[arg-type]


def contradictions(quantum: Values, protocol: Values) -> Iterator[Contradiction]:
    """Yield the block, the keys and the text of values that cannot hold together.

    Args:
        quantum: Every value of the quantum block, by key, in base units.
        protocol: The same of the protocol block.
    """
    yield from _source(quantum, protocol["protocol"])
    for key in ("dark_counts", "transmitter_dark_counts"):
        if quantum[key] > quantum["clock"]:
            text = f"{_text(key, quantum[key])} is more than one in each period of the clock"
            yield "quantum", (key, "clock"), f"{text} ({_text('clock', quantum['clock'])})"
    for key, needed in _NEEDS:
        if quantum[key] > 0 and quantum[needed] == 0:
            yield "quantum", (needed, key), f"must be above {_text(needed, 0.0)} where {key} is above {_zero(key)}"
    yield from _slots(quantum)
    degraded, abort = protocol["qber_degraded"], protocol["qber_abort"]
    if degraded >= abort:
        yield "protocol", ("qber_degraded", "qber_abort"), f"{degraded} must be below qber_abort ({abort})"


def _zero(key: str) -> str:
    return _text(key, 0.0).removesuffix(".0")


def _source(quantum: Values, name: str) -> Iterator[Contradiction]:
    """Yield what the source cannot be for a protocol."""
    means, probs = quantum["intensities"], quantum["intensity_probabilities"]
    keys = ("intensities", "intensity_probabilities")
    low, high = _INTENSITIES.get(name, (1, 16))
    if not low <= len(means) <= high:
        count = str(low) if low == high else f"{low} or {high}"
        yield "quantum", keys, f"{name} needs {count} of them, got {len(means)}"
    elif len(probs) != len(means):
        noun = "intensity" if len(means) == 1 else "intensities"
        yield "quantum", keys[::-1], f"one is due for each of the {len(means)} {noun}, got {len(probs)}"
    elif name in _INTENSITIES and len(means) == 2 and means[1] == 0:
        yield "quantum", keys, f"{name} needs a decoy above 0"
    elif name in _INTENSITIES and len(means) == 3 and means[0] <= means[1] + means[2]:
        yield "quantum", keys, f"the first must be more than the other two together, {means[1] + means[2]:g}"
    brightness = quantum["pair_brightness"]
    if name == _PAIRS and brightness == 0:
        yield "quantum", ("pair_brightness",), f"must be above 0: {_PAIRS} needs a source of pairs"
    elif name == _PAIRS and quantum["transmitter_efficiency"] == 0:
        yield "quantum", ("transmitter_efficiency", "pair_brightness"), "must be above 0 with a source of pairs"
    elif name != _PAIRS and brightness > 0:
        yield (
            "quantum",
            ("pair_brightness",),
            f"{brightness:g} is a source of pairs, which {name} cannot use ({_PAIRS})",
        )


def _slots(quantum: Values) -> Iterator[Contradiction]:
    """Yield what does not fit into a slot."""
    period_ps = 1e12 / quantum["clock"]
    separation, width, gate = (quantum[key] for key in ("bin_separation", "bin_width", "gate_width"))
    if width > separation > 0:
        text = f"{_text('bin_width', width)} is more than bin_separation ({_text('bin_separation', separation)})"
        yield "quantum", ("bin_width", "bin_separation"), f"{text}: the two bins would overlap"
    elif separation + width > period_ps > 0 and separation > 0 and width > 0:
        text = f"two bins take {separation + width:g}ps, more than a period of the clock ({period_ps:g}ps)"
        yield "quantum", ("bin_separation", "bin_width", "clock"), text
    if gate > period_ps:
        text = f"{_text('gate_width', gate)} is more than a period of the clock ({period_ps:g}ps)"
        yield "quantum", ("gate_width", "clock"), text
