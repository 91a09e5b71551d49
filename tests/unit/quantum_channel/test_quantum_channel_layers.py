"""Layers of settings and tables in time: what holds when, and what is refused."""

from dataclasses import replace
from typing import Any, Final

import pytest

from qnetem.v1 import parameters_pb2
from quantum_channel import wire
from quantum_channel.layers import Layer, Series, Timeline
from quantum_channel.link import Link
from quantum_channel.parameters import BadLinkError, Parameters

PLANNED: Final = Parameters(
    length_km=25,
    attenuation_db_per_km=0.2,
    connector_count=2,
    connector_loss_db=0.3,
    extra_loss_db=0,
    receiver_loss_db=2,
    clock_hz=1e9,
    intensities=(0.4, 0.1),
    intensity_probs=(0.5, 0.5),
    transmitter_p_z=0.5,
    receiver_p_z=0.5,
    misalignment_prob=0.01,
    efficiency=0.2,
    dark_count_hz=100,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)
S: Final = 10**12


def loss(timeline: Timeline, *times_s: float) -> list[float]:
    return [timeline.at(round(time_s * S)).extra_loss_db for time_s in times_s]


def test_a_layer_ramps_from_what_is_below_holds_and_is_gone() -> None:
    timeline = Timeline(PLANNED).set({"extra_loss_db": 2.0}, 0).over(Layer.of({"extra_loss_db": 6.0}, 10 * S, 4, 20))
    assert loss(timeline, 0, 9.999, 10, 11, 12, 13.5, 14, 20, 29.999, 30, 1000) == [2, 2, 2, 3, 4, 5.5, 6, 6, 6, 2, 2]
    # at once, and until reset
    timeline = Timeline(PLANNED).over(Layer.of({"extra_loss_db": 6.0}, 10 * S, 0, 0))
    assert loss(timeline, 9.9, 10, 1e6) == [0, 6, 6]
    # what is below goes on below it
    under = Series("extra_loss_db", (0, 100), (0, 100))
    timeline = Timeline(PLANNED, (under,)).over(Layer.of({"extra_loss_db": 0.0}, 50 * S, 10, 0))
    assert loss(timeline, 40, 50, 55, 60) == pytest.approx([40, 50, 27.5, 0])


def test_layer_lies_upon_layer() -> None:
    timeline = Timeline(PLANNED)
    timeline = timeline.over(Layer.of({"extra_loss_db": 4.0}, 0, 0, 100))
    timeline = timeline.over(Layer.of({"extra_loss_db": 8.0}, 10 * S, 10, 20))
    assert loss(timeline, 5, 15, 20, 29, 30, 99, 100) == [4, 6, 8, 8, 4, 4, 0]


def test_what_is_no_number_of_its_own_changes_at_once() -> None:
    layer = Layer.of({"is_up": False, "connector_count": 6, "dead_time_ps": 100, "efficiency": 0.4}, 0, 10, 20)
    at = Timeline(PLANNED).over(layer).at(5 * S)
    assert (at.is_up, at.connector_count, at.dead_time_ps) == (False, 6, 100)
    assert at.efficiency == pytest.approx(0.3)


def test_a_setting_or_a_reset_of_a_field_takes_it_out_of_layers() -> None:
    link = Link("a-b", PLANNED, {}, bytes(16))
    link.set({"extra_loss_db": 6.0, "efficiency": 0.5}, 0, ramp_s=10, duration_s=100)
    link.set({"extra_loss_db": 1.0}, 20 * S)
    assert [dict(layer.settings) for layer in link.layers] == [{"efficiency": 0.5}]
    assert (link.at(20 * S).extra_loss_db, link.at(20 * S).efficiency) == (1, 0.5)
    link.reset(["efficiency"], 30 * S)
    assert link.layers == ()
    assert link.at(30 * S).efficiency == 0.2
    link.set({"efficiency": 0.5}, 40 * S, duration_s=5)
    link.reset([], 41 * S)
    assert (link.layers, dict(link.settings)) == ((), {})


def test_a_layer_begins_with_the_next_block_and_is_dropped_when_it_has_long_been_over() -> None:
    link = Link("a-b", PLANNED, {}, bytes(16))
    link.begin(40, 7 * S)
    link.set({"extra_loss_db": 6.0}, 6 * S, duration_s=2)
    assert (link.layers[0].start_ps, link.effective_from_block) == (7 * S, 40)
    link.begin(80, 9 * S)
    link.set({"efficiency": 0.5}, 8 * S)
    # a train that lags, or is sent once more, still needs it
    assert len(link.layers) == 1
    assert link.at(9 * S).extra_loss_db == 0
    link.begin(90, 70 * S)
    link.set({"efficiency": 0.4}, 8 * S)
    assert link.layers == ()


def test_a_series_goes_in_lines_and_again() -> None:
    points = Series("extra_loss_db", (10, 20, 40), (1, 3, 1))
    assert loss(Timeline(PLANNED, (points,)), 0, 10, 15, 20, 30, 40, 99) == [1, 1, 2, 3, 2, 1, 1]
    again = Timeline(PLANNED, (replace(points, is_repeating=True),))
    assert loss(again, 0, 15, 39.999999, 40, 50, 55, 95) == pytest.approx([1, 2, 1, 1, 1, 2, 2], abs=1e-6)
    # over what is planned, below settings
    assert loss(again.set({"extra_loss_db": 0.5}, 0), 15) == [0.5]
    steps = Timeline(PLANNED, (Series("connector_count", (0, 10), (2, 4)), Series("is_up", (0, 5, 6), (1, 0, 1))))
    assert [steps.at(t * S).connector_count for t in (0, 9, 10)] == [2, 2, 4]
    assert [steps.at(t * S).is_up for t in (0, 5, 6)] == [True, False, True]


def test_borders_are_where_lines_are_bent() -> None:
    timeline = Timeline(PLANNED, (Series("efficiency", (3, 6), (0.1, 0.2), is_repeating=True),)).over(
        Layer.of({"extra_loss_db": 6.0}, 10 * S, 1, 5)
    )
    borders, time_ps = [], 0
    while time_ps < 20 * S:
        border_ps = timeline.next_border_ps(time_ps)
        assert border_ps is not None
        time_ps = border_ps
        borders.append(time_ps / S)
    assert borders == [3, 6, 9, 10, 11, 12, 15, 18, 21]
    assert timeline.line_ps(1 * S) is None
    assert timeline.line_ps(4 * S) == 3 * S
    assert timeline.line_ps(10 * S) == 1 * S
    assert Timeline(PLANNED).next_border_ps(0) is None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Layer.of({"efficiency": 2.0}, 0, 0, 0), r"efficiency 2 is not in 0 \.\. 1"),
        (lambda: Layer.of({"clock_hz": 1e9}, 0, 0, 0), "clock_hz cannot be set"),
        (lambda: Layer.of({"efficiency": 0.1}, 0, -1, 0), r"ramp_s -1 is not in 0 \.\. 1e\+09"),
        (lambda: Layer.of({"efficiency": 0.1}, 0, 0, float("nan")), "duration_s nan is not in"),
        (lambda: Layer.of({"efficiency": 0.1}, 0, 5, 3), r"ramp_s 5 is not in 0 \.\. duration_s, 3"),
        (lambda: Layer.of({"efficiency": 0.1}, -1, 0, 0), "start .* is not in"),
        (lambda: Series("clock_hz", (0,), (1e9,)), "'clock_hz': not the name of a setting"),
        (lambda: Series("efficiency", (), ()), "0 times for 0 values"),
        (lambda: Series("efficiency", (0, 1), (0.5,)), "2 times for 1 values"),
        (lambda: Series("efficiency", (0, 2, 2), (0.5, 0.5, 0.5)), "its times do not ascend"),
        (lambda: Series("efficiency", (0, 1), (0.5, 1.5)), r"efficiency 1\.5 is not in"),
        (lambda: Series("efficiency", (0,), (0.5,), is_repeating=True), "after no time"),
        (lambda: Series("efficiency", (-1, 2), (0.5, 0.5)), "at_s -1 is not in"),
    ],
)
def test_what_no_layer_or_series_can_be_is_refused(make: Any, why: str) -> None:
    with pytest.raises(BadLinkError, match=why):
        make()


def test_values_that_cannot_hold_together_at_any_time_are_refused_at_once() -> None:
    bins = replace(PLANNED, bin_separation_ps=400, bin_width_ps=300)
    timeline = Timeline(bins)
    with pytest.raises(BadLinkError, match=r"bin_width_ps 300 is not in 0 .. 200"):
        timeline.over(Layer.of({"bin_separation_ps": 200.0}, 5 * S, 10, 0))
    # both ends of the ramp can be, but what is between cannot
    with pytest.raises(BadLinkError, match="bin_width_ps"):
        Timeline(replace(bins, bin_separation_ps=0)).over(Layer.of({"bin_separation_ps": 400.0}, 5 * S, 10, 0))
    with pytest.raises(BadLinkError, match="bin_width_ps"):
        Timeline(bins, (Series("bin_width_ps", (0, 50, 100), (300, 500, 300)),)).checked()
    with pytest.raises(BadLinkError, match="aperture_m 0 is not above 0"):
        timeline.set({"divergence_rad": 1e-5}, 0)
    with pytest.raises(BadLinkError, match="loss_event_hz x loss_event_s 2000 is not in"):
        timeline.set({"loss_event_hz": 2.0, "loss_event_s": 1000.0}, 0)
    layered = timeline
    for _ in range(256):
        layered = layered.over(Layer.of({"efficiency": 0.1}, 0, 0, 0))
    with pytest.raises(BadLinkError, match=r"layers: 257 of them, not 0 \.\. 256"):
        layered.over(Layer.of({"efficiency": 0.1}, 0, 0, 0))


def test_layers_and_series_survive_the_wire() -> None:
    layer = Layer.of({"efficiency": 0.25, "is_up": False, "dead_time_ps": 7}, 3 * S + 5, 1.5, 4)
    assert wire.layer_from_message(wire.layer_message(layer), 0) == layer
    message = parameters_pb2.SettingsLayer(settings=parameters_pb2.LinkSettings(efficiency=0.25), duration_s=2)
    assert wire.layer_from_message(message, 9) == Layer({"efficiency": 0.25}, 9, 0, 2 * S)
    series = parameters_pb2.ParameterSeries(field="efficiency", at_s=(0, 5), values=(0.1, 0.2), is_repeating=True)
    assert wire.series_from_message(series) == Series("efficiency", (0, 5), (0.1, 0.2), is_repeating=True)
