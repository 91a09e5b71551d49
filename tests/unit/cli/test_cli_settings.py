"""What `link set` takes, and how a link is shown."""

import json
import math

import pytest

from qnetem.cli.settings import link_rows, summary
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.eavesdropping import attack_settings, attacks_on
from qnetem.testbed.link_values import link_values
from qnetem.testbed.settings import Way, fields_of, settings_of, span_s
from qnetem.v1 import parameters_pb2 as parameters
from qnetem.v1.classical_channel_pb2 import ClassicalPathState, ClassicalWay
from qnetem.v1.quantum_channel_pb2 import Drift, QuantumLinkState
from qnetem.v1.supervisor_pb2 import LinkFault, LinkReport

MS_PS = 10**9


def test_settings_go_to_their_planes_in_the_wires_units() -> None:
    quantum, classical = settings_of(
        ["extra_loss=6dB", "delay=5ms", "length=500m", "efficiency=20%", "dark_counts=1kHz"]
    )
    assert quantum == parameters.LinkSettings(extra_loss_db=6, length_km=0.5, efficiency=0.2, dark_count_hz=1000)
    assert classical == parameters.ClassicalSettings(delay_ps=5 * MS_PS)


def test_a_plane_without_settings_is_left_alone() -> None:
    assert settings_of(["delay=0ms"]) == (None, parameters.ClassicalSettings(delay_ps=0))
    assert settings_of(["extra_loss=0dB"]) == (parameters.LinkSettings(extra_loss_db=0), None)


def test_a_setting_of_zero_is_a_setting() -> None:
    quantum, _ = settings_of(["efficiency=0"])
    assert quantum is not None
    assert quantum.HasField("efficiency")


def test_a_plane_can_be_named() -> None:
    quantum, classical = settings_of(["quantum.jitter=50ps", "classical.delay=1ms"])
    assert quantum == parameters.LinkSettings(link_jitter_fwhm_ps=50)
    assert classical == parameters.ClassicalSettings(delay_ps=MS_PS)


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("extra_loss", "'extra_loss' is not KEY=VALUE"),
        ("extra_los=6dB", r"no setting 'extra_los' \(did you mean 'extra_loss'\?\)"),
        ("extra_loss=6", r"extra_loss: '6' has no unit \(expected dB, such as 2dB\)"),
        ("extra_loss=6ms", "extra_loss: '6ms' has the unknown unit 'ms'"),
        ("extra_loss=-1dB", "extra_loss: '-1dB' is out of range"),
        ("delay=2h", "delay: '2h' has the unknown unit 'h'"),
        ("efficiency=1.5", "efficiency: 1.5 is out of range"),
        ("efficiency=nan", "efficiency: "),
        ("clock=1GHz", "no setting 'clock'"),
    ],
)
def test_a_wrong_setting_is_named(assignment: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        settings_of([assignment])


def test_a_setting_is_given_once() -> None:
    with pytest.raises(BadInputError, match="extra_loss is given twice"):
        settings_of(["extra_loss=6dB", "extra_loss=7dB"])


def test_fields_to_reset_are_named_as_in_a_topology() -> None:
    assert fields_of(["extra_loss", "delay", "dead_time"]) == (["extra_loss_db", "dead_time_ps"], ["delay_ps"])
    with pytest.raises(BadInputError, match=r"no setting 'dely' \(did you mean 'delay'\?\)"):
        fields_of(["dely"])


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("250ms", 0.25), ("5min", 300), ("1h", 3600), (None, 0)])
def test_a_ramp_and_a_duration_have_their_unit(text: str | None, seconds: float) -> None:
    assert span_s("--ramp", text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10", "--ramp: '10' has no unit"),
        ("10sec", "--ramp: '10sec' has the unknown unit 'sec'"),
        ("-1s", "--ramp: '-1s' is out of range"),
        ("soon", "--ramp: expected a time, got 'soon'"),
    ],
)
def test_a_wrong_time_is_named(text: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        span_s("--ramp", text)


def way(direction: str) -> Way:
    return Way.of(direction, "fibre", ["a-b", "c"], "a-b")


def test_a_direction_is_one_of_the_link() -> None:
    there, back = way("a-b-c"), way("c-a-b")
    assert (there.prefix, there.is_of_light) == ("forth_", True)
    assert (back.prefix, back.is_of_light) == ("back_", False)
    with pytest.raises(BadInputError, match=r"link fibre: no direction 'a-c' \(known: a-b-c, c-a-b\)"):
        way("a-c")


def test_settings_for_one_way_are_of_the_classical_plane() -> None:
    settings = settings_of(["delay=5ms", "loss=1%", "classical.jitter=1ms"])
    assert way("c-a-b").settings(*settings) == (
        None,
        parameters.ClassicalSettings(back_delay_ps=5 * MS_PS, back_loss_prob=0.01, back_jitter_ps=MS_PS),
    )
    assert way("a-b-c").fields(*fields_of(["delay", "extra_loss"])) == (["extra_loss_db"], ["forth_delay_ps"])
    light = settings_of(["extra_loss=6dB"])
    assert way("a-b-c").settings(*light) == light
    for refused in (lambda: way("c-a-b").settings(*light), lambda: way("c-a-b").fields(["extra_loss_db"], [])):
        with pytest.raises(
            BadInputError, match="light goes the other way alone, so extra_loss_db has no such direction"
        ):
            refused()
    with pytest.raises(BadInputError, match="is_up is of both ways"):
        way("a-b-c").settings(None, parameters.ClassicalSettings(is_up=False))


def report() -> LinkReport:
    return LinkReport(
        link_id="alice-bob",
        endpoints=["alice", "bob"],
        now=parameters.EmulatedTime(seconds=103),
        quantum=QuantumLinkState(
            effective=parameters.LinkParameters(
                length_km=25,
                extra_loss_db=6,
                intensities=[0.4, 0.13],
                wavelength_nm=1550,
                day_s=86_400,
                raman_per_km_nm=3e-9,
                filter_nm=0.1,
                elevation_rad=math.pi / 2,
                eve_intercept_prob=0.05,
            ),
            is_up=False,
            drift=Drift(loss_db=0.25, intensity_ratio=1.0),
        ),
        classical=ClassicalPathState(
            effective=parameters.ClassicalParameters(delay_ps=5 * MS_PS),
            is_up=True,
            ways=[
                ClassicalWay(
                    from_node=there, to_node=back, effective=parameters.ClassicalParameters(delay_ps=delay * MS_PS)
                )
                for there, back, delay in (("alice", "bob", 5), ("bob", "alice", 7))
            ],
        ),
        desired_quantum=parameters.LinkSettings(extra_loss_db=6, is_up=False),
        desired_classical=parameters.ClassicalSettings(back_delay_ps=7 * MS_PS),
        quantum_layers=[
            parameters.SettingsLayer(
                settings=parameters.LinkSettings(eve_intercept_prob=0.1),
                start=parameters.EmulatedTime(seconds=98),
                ramp_s=10,
                duration_s=60,
            )
        ],
        faults=[LinkFault(fault_id="alice-bob/1", quantum=parameters.LinkSettings(length_km=30), added_loss_db=2)],
    )


def test_a_link_is_told_in_the_words_of_a_topology() -> None:
    values = link_values(report())
    quantum, classical = values["quantum"], values["classical"]
    assert quantum["parameters"]["length"] == "25km"
    assert quantum["settings"] == {"extra_loss": "6dB", "is_up": False}
    times = {"ramp_left_s": 5, "left_s": 55}
    assert quantum["layers"] == [{"settings": {"eve_intercept": 0.1}, "ramp_s": 10, "duration_s": 60} | times]
    assert quantum["requested"] == {
        "extra_loss": {"value": "6dB", "by": "operator"},
        "is_up": {"value": False, "by": "operator"},
        "eve_intercept": {"value": 0.1, "by": "operator"} | times,
        "length": {"value": "30km", "by": "fault"},
        "added_loss": {"value": "2dB", "by": "fault"},
    }
    assert quantum["drift"]["loss_db"] == 0.25
    assert classical["one_way"] == {"bob-alice": {"delay": "7ms"}}
    assert classical["requested"] == {"delay bob-alice": {"value": "7ms", "by": "operator"}}
    assert classical["parameters"]["delay"] == "5ms"
    assert classical["ways"]["bob-alice"]["parameters"]["delay"] == "7ms"
    assert values["faults"][0]["quantum"] == {"settings": {"length": "30km"}}
    json.dumps(values)


def test_a_table_has_what_was_requested_beside_what_is_achieved() -> None:
    values = link_values(report())
    header, rows, hidden_count = link_rows(values, is_all=False)
    assert header == ("PLANE", "PARAMETER", "REQUESTED", "ACHIEVED", "HOW")
    assert {len(row) for row in rows} == {5}
    for row in (
        ("quantum", "up", "no", "no", "set"),
        ("quantum", "length", "30km", "25km", "a fault"),
        ("quantum", "extra_loss", "6dB", "6dB", "set"),
        ("quantum", "intensities", "", "0.4, 0.13", ""),
        ("quantum", "eve_intercept", "0.1", "0.05", "set, there in 5s, gone in 55s"),
        ("quantum", "added_loss", "2dB", "", "a fault"),
        ("quantum", "drift: loss", "", "0.25dB", "now"),
        ("classical", "up", "", "yes", ""),
        ("classical", "delay alice-bob", "", "5ms", ""),
        ("classical", "delay bob-alice", "7ms", "7ms", "set"),
        ("classical", "jitter", "", "0ps", ""),
    ):
        assert row in rows
    assert not [row for row in rows if row[1] in ("polarisation_time", "wavelength", "drift: intensity")]
    _, all_rows, none_hidden = link_rows(values)
    assert (len(all_rows), none_hidden) == (len(rows) + hidden_count, 0)
    assert ("quantum", "wavelength", "", "1550nm", "") in all_rows


def test_a_line_says_what_the_operator_has_set() -> None:
    told = report()
    del told.faults[:]
    assert summary(link_values(told)) == (
        "link alice-bob: quantum extra_loss=6dB down eve_intercept=0.1 (there in 5s, gone in 55s); "
        "classical delay=7ms bob-alice"
    )


def test_settings_of_a_channel_that_does_not_run_are_told_as_such() -> None:
    absent = LinkReport(link_id="a-b", desired_quantum=parameters.LinkSettings(extra_loss_db=6, is_up=False))
    values = link_values(absent)
    assert summary(values) == "link a-b: quantum extra_loss=6dB down (when its channel runs again)"
    _, rows, _ = link_rows(values)
    assert ("quantum", "-", "", "the channel does not run", "") in rows
    assert ("quantum", "up", "no", "", "set") in rows
    assert {len(row) for row in rows} == {5}


def test_a_link_without_settings_is_as_planned() -> None:
    assert summary(link_values(LinkReport(link_id="a-b"))) == "link a-b: as planned"


@pytest.mark.parametrize(
    ("attack", "strengths", "settings"),
    [
        ("intercept-resend", {"fraction": "10%"}, {"eve_intercept_prob": 0.1}),
        ("intercept-resend", {"fraction": 0.1}, {"eve_intercept_prob": 0.1}),
        ("photon-number-splitting", {"fraction": 1}, {"eve_splitting_prob": 1}),
        ("beam-splitting", {"fraction": "0.5"}, {"eve_beam_splitting_prob": 0.5}),
        ("blinding", {"fraction": "30%"}, {"eve_blinding_prob": 0.3}),
        ("time-shift", {"shift": "0.1ns"}, {"eve_time_shift_ps": 100}),
        ("trojan", {"photons": "0.01"}, {"eve_trojan_photons": 0.01}),
        ("delay", {"delay": "5ns"}, {"eve_delay_ps": 5000}),
    ],
)
def test_an_attack_is_a_setting(attack: str, strengths: dict[str, object], settings: dict[str, float]) -> None:
    assert attack_settings(attack, strengths) == parameters.LinkSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attack", "strengths", "why"),
    [
        ("intercept", {"fraction": "10%"}, r"no attack 'intercept' \(did you mean 'intercept-resend'\?\)"),
        ("intercept-resend", {}, "intercept-resend needs its fraction, such as 2%"),
        ("time-shift", {"fraction": "10%"}, "time-shift has no fraction; how strong it is is its shift"),
        ("intercept-resend", {"fraction": "110%"}, "fraction: '110%' is out of range"),
        ("intercept-resend", {"fraction": "much"}, "fraction: expected a probability, got 'much'"),
        ("delay", {"delay": "5"}, "delay: '5' has no unit"),
        ("blinding", {"fraction": "0%"}, "fraction: '0%' is no attack"),
    ],
)
def test_an_attack_that_cannot_be_is_named(attack: str, strengths: dict[str, object], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        attack_settings(attack, strengths)


def test_the_attacks_on_a_link_are_those_in_force_and_those_asked_for() -> None:
    told = report()
    told.quantum.effective.eve_delay_ps = 5000
    told.faults.add(quantum=parameters.LinkSettings(eve_blinding_prob=0.2))
    (first, second, third) = attacks_on(link_values(told))
    assert (first["attack"], first["requested"], first["achieved"], first["by"]) == (
        "intercept-resend",
        0.1,
        0.05,
        "operator",
    )
    assert first["left_s"] == 55
    assert (second["attack"], second["requested"], second["achieved"], second["by"]) == ("blinding", 0.2, 0.0, "fault")
    assert (third["attack"], third["requested"], third["achieved"], third["by"]) == ("delay", None, "5ns", "topology")
    assert not list(attacks_on(link_values(LinkReport(link_id="a-b"))))
