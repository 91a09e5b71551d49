"""Faults over settings: they stack, come off in any order, and leave what the others say."""

import itertools
import math

import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.desired import Desired
from qnetem.testbed.overlay import checked_fault, overlaid, planes_of
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings
from qnetem.v1.supervisor_pb2 import LinkFault

LINK = "a-b"
OWN = Desired({LINK: LinkSettings(extra_loss_db=3, length_km=7)}, {"c-d": ClassicalSettings(delay_ps=5)})
PLANNED = {LINK: 1.0, "c-d": 2.0}


def fault(added_loss_db: float = 0, **quantum: float) -> LinkFault:
    """A fault of the link, of its quantum plane."""
    settings = LinkSettings(**quantum) if quantum else None  # type: ignore[arg-type]
    return LinkFault(link_id=LINK, quantum=settings, added_loss_db=added_loss_db)


def test_without_faults_the_operators_settings_are_in_force() -> None:
    assert overlaid(OWN, [], {}) == OWN


def test_losses_add_up_on_the_loss_that_is_there() -> None:
    assert overlaid(Desired(), [fault(6)], PLANNED).quantum[LINK] == LinkSettings(extra_loss_db=7)
    assert overlaid(OWN, [fault(6), fault(2)], PLANNED).quantum[LINK] == LinkSettings(extra_loss_db=11, length_km=7)


def test_the_youngest_setting_is_in_force_and_the_others_links_are_left_alone() -> None:
    result = overlaid(OWN, [fault(length_km=40), fault(6, extra_loss_db=0), fault(length_km=50)], PLANNED)
    assert result.quantum == {LINK: LinkSettings(extra_loss_db=6, length_km=50)}
    assert result.classical == OWN.classical


def test_whatever_order_they_come_off_in_the_rest_is_as_if_the_others_had_never_been() -> None:
    faults = [fault(6), fault(length_km=40), fault(2, misalignment_prob=0.1), fault(extra_loss_db=30)]
    for order in itertools.permutations(range(4)):
        left = dict(enumerate(faults))
        for index in order:
            del left[index]
            fresh = overlaid(OWN, [faults[i] for i in sorted(left)], PLANNED)
            assert overlaid(OWN, left.values(), PLANNED) == fresh
        assert fresh == OWN


def test_no_healing_can_leave_a_loss_that_no_link_can_have() -> None:
    low, high = fault(extra_loss_db=0), fault(197.5)
    # with `low` alone the sum would do, without it not
    with pytest.raises(BadInputError, match=r"link a-b: faults could add up to 200\.5dB \(0dB to 200dB\)"):
        overlaid(OWN, [low, high], PLANNED)
    assert overlaid(OWN, [low, fault(197)], PLANNED).quantum[LINK].extra_loss_db == 197


def test_faults_over_what_comes_and_goes_come_off_in_any_order_too() -> None:
    own = OWN.laid("quantum", LINK, LinkSettings(extra_loss_db=9), start_ps=5, ramp_s=1, duration_s=0)
    faults = [fault(6), fault(length_km=40), fault(extra_loss_db=30), fault(2)]
    both = overlaid(own, faults, PLANNED)
    layers = both.layers_of("quantum", LINK)
    assert both.quantum[LINK] == LinkSettings(extra_loss_db=11, length_km=7)
    assert [layer.settings for layer in layers] == [
        LinkSettings(extra_loss_db=17),
        LinkSettings(extra_loss_db=38, length_km=40),
    ]
    assert overlaid(own, [], PLANNED) == own
    high = OWN.laid("quantum", LINK, LinkSettings(extra_loss_db=199), start_ps=0, ramp_s=0, duration_s=1)
    with pytest.raises(BadInputError, match=r"faults could add up to 205dB"):
        overlaid(high, [fault(6)], PLANNED)


@pytest.mark.parametrize("added_db", [-1.0, 201.0, math.nan, math.inf])
def test_a_loss_out_of_range_is_refused(added_db: float) -> None:
    with pytest.raises(BadInputError, match=r"added_loss_db .* is out of range"):
        checked_fault(fault(added_db))


def test_a_fault_that_does_nothing_is_refused_and_settings_are_checked() -> None:
    with pytest.raises(BadInputError, match="a fault that does nothing"):
        checked_fault(LinkFault(link_id=LINK))
    with pytest.raises(BadInputError, match="efficiency 2 is out of range"):
        checked_fault(fault(efficiency=2))
    assert planes_of(checked_fault(fault(1))) == ("quantum",)
    assert planes_of(LinkFault(classical=ClassicalSettings(is_up=False))) == ("classical",)
