"""quantum_channel.states: what operators and journals are told of a link. Edge."""

from dataclasses import asdict
from typing import Any

from qnetem.runtime.clock import to_time
from qnetem.v1 import quantum_channel_pb2
from quantum_channel import wire
from quantum_channel.course import Cell
from quantum_channel.link import Link
from quantum_channel.nature import Nature
from quantum_channel.parameters import SETTABLE

__all__ = ["cell_state", "change_fields", "link_state", "told_fields"]


def link_state(nature: Nature, now_ps: int) -> quantum_channel_pb2.QuantumLinkState:
    """Return the state of a link: what was asked for, and what holds now; a change that is due holds."""
    link = nature.link
    at_ps = max(now_ps, link.effective_since_ps)
    parameters = link.at(at_ps)
    return quantum_channel_pb2.QuantumLinkState(
        link_id=link.link_id,
        effective=wire.parameters_message(parameters),
        settings=wire.settings_message(link.settings),
        is_up=parameters.is_up,
        effective_since=to_time(link.effective_since_ps),
        effective_from_block=link.effective_from_block,
        has_transmitter=nature.transmitter.is_taken,
        has_receiver=nature.has_receiver,
        pulse_count=link.pulse_count,
        click_count=link.click_count,
        lag_ps=nature.lag_ps,
        layers=[wire.layer_message(layer) for layer in link.layers if not layer.is_over(at_ps)],
        drift=quantum_channel_pb2.Drift(**asdict(link.drift(at_ps))),
        tuned_gate_offset_ps=link.course.controls.gate_offset_ps,
        intensity_trim_ratio=link.course.controls.intensity_trim_ratio,
    )


def cell_state(nature: Nature, now_ps: int, cell: Cell) -> quantum_channel_pb2.QuantumLinkState:
    """Return the same, what holds and what has drifted being that of a whole cell: as its clicks are drawn."""
    state = link_state(nature, now_ps)
    state.effective.CopyFrom(wire.parameters_message(cell.parameters))
    state.drift.CopyFrom(quantum_channel_pb2.Drift(**asdict(cell.drift)))
    return state


def told_fields(link: Link) -> dict[str, Any]:
    """Return what a journal has to say of what devices were told: it comes often, and nothing else has changed."""
    controls = link.course.controls
    return {
        "link_id": link.link_id,
        "effective_from_block": link.effective_from_block,
        "effective_since_ps": link.effective_since_ps,
        "aligned_ps": controls.aligned_ps,
        "tuned_gate_offset_ps": controls.gate_offset_ps,
        "intensity_trim_ratio": controls.intensity_trim_ratio,
    }


def change_fields(link: Link) -> dict[str, Any]:
    """Return what a journal has to say of a change, so that the clicks can be made again."""
    parameters = link.at(link.effective_since_ps)
    return {
        **told_fields(link),
        # what was asked for: of the values below, those that ramp, or follow a table, are as they were at that moment
        "settings": dict(link.settings),
        "layers": [
            {
                "settings": dict(layer.settings),
                "start_ps": layer.start_ps,
                "ramp_ps": layer.ramp_ps,
                "duration_ps": layer.duration_ps,
            }
            for layer in link.layers
        ],
        **{name: getattr(parameters, name) for name in sorted(SETTABLE)},
    }
