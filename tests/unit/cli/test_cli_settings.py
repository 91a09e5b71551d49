"""What `link set` takes, and how a link is shown."""

import pytest

from qnetem.cli.settings import link_rows, summary
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.settings import fields_of, link_values, settings_of
from qnetem.v1 import parameters_pb2 as parameters
from qnetem.v1.classical_channel_pb2 import ClassicalPathState
from qnetem.v1.quantum_channel_pb2 import QuantumLinkState
from qnetem.v1.supervisor_pb2 import LinkReport

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


def report() -> LinkReport:
    return LinkReport(
        link_id="alice-bob",
        quantum=QuantumLinkState(
            effective=parameters.LinkParameters(length_km=25, extra_loss_db=6, intensities=[0.4, 0.13]), is_up=False
        ),
        classical=ClassicalPathState(effective=parameters.ClassicalParameters(delay_ps=5 * MS_PS), is_up=True),
        desired_quantum=parameters.LinkSettings(extra_loss_db=6, is_up=False),
    )


def test_a_link_is_shown_in_the_words_of_a_topology() -> None:
    values = link_values(report())
    assert values["quantum"]["parameters"]["length"] == "25km"
    assert values["quantum"]["settings"] == {"extra_loss": "6dB", "is_up": False}
    assert values["classical"]["parameters"]["delay"] == "5ms"
    _, rows = link_rows(values)
    assert ("quantum", "up", "no", "down") in rows
    assert ("quantum", "extra_loss", "6dB", "6dB") in rows
    assert ("quantum", "intensities", "0.4, 0.13", "") in rows
    assert ("classical", "up", "yes", "") in rows
    assert ("classical", "delay", "5ms", "") in rows
    assert summary(values) == "link alice-bob: quantum extra_loss=6dB down"


def test_settings_of_a_channel_that_does_not_run_are_told_as_such() -> None:
    absent = report()
    absent.ClearField("quantum")
    values = link_values(absent)
    assert summary(values) == "link alice-bob: quantum extra_loss=6dB down (when its channel runs again)"
    _, rows = link_rows(values)
    assert ("quantum", "-", "the channel does not run", "") in rows
    assert {len(row) for row in rows} == {4}


def test_a_link_without_settings_is_as_planned() -> None:
    assert summary(link_values(LinkReport(link_id="a-b"))) == "link a-b: as planned"
